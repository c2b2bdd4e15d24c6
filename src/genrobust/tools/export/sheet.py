"""A contact sheet: a few classes of an export as one picture."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from genrobust.core import LabelSpace, hashed_seed
from genrobust.report import thumbnail
from genrobust.tools.export.parts import Part

CLASSES, PER_CLASS = 12, 8  # shown: evenly through the label space, and of each class
SIDE, GAP, NAMES = 128, 4, 150  # pixels: a cell's side, between cells, the column of names
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


def shown_classes(labels: LabelSpace) -> list[int]:
    """List the labels whose images are on the sheet, from the top."""
    return list(range(0, len(labels), -(-len(labels) // CLASSES)))


def draw_sheet(part: Part, labels: LabelSpace) -> Image.Image:
    """Draw a row of images for each of `shown_classes`, chosen by a hash of their keys: nobody's choice.

    The number of a class replaces a name that the font cannot write.
    """
    shown = shown_classes(labels)
    size = (NAMES + PER_CLASS * (SIDE + GAP) + GAP, len(shown) * (SIDE + GAP) + GAP)
    paper = Image.new("RGB", size, _PAPER)
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(14)
    keys, all_labels = part.shards.keys, part.labels
    for row, label in enumerate(shown):
        top = GAP + row * (SIDE + GAP)
        name = labels.names[label]
        readable = name if name.isascii() and name.isprintable() else f"class {label}"
        while font.getlength(readable) > NAMES - 2 * GAP:
            readable = readable.removesuffix("...")[:-1] + "..."
        pen.text((GAP, top + SIDE // 2), readable, _INK, font, anchor="lm")
        of_class = part.indices[all_labels == label].tolist()
        drawn = sorted(of_class, key=lambda i: hashed_seed("sheet", keys[i]))[:PER_CLASS]
        for column, index in enumerate(sorted(drawn)):
            cell = thumbnail(part.shards.image(index), SIDE, enlarge=True)
            corner = NAMES + column * (SIDE + GAP) + (SIDE - cell.width) // 2, top + (SIDE - cell.height) // 2
            paper.paste(cell, corner)
    return paper
