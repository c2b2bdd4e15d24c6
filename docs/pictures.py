"""Draws the pictures that hold icons: the README's, and the sheet of generated icons.

    genrobust run pictograms-full
    genrobust export pictograms-full:sure --to parquet --run \
        --set "datasets.sure.filter={by: clip, clip: pictograms, drop: 0.98}"
    python docs/pictures.py runs/generated/NAME-HASH [runs/filters/clip-HASH]

writes docs/pictures/overview.webp, whose results are those that prose.py keeps in docs/results, and with a filter
docs/pictures/generated.webp. Its scores are those of the filter, which lists the images that it leaves out: nearly all
of a class with drop 0.98.
"""

from __future__ import annotations

import argparse
import io
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import ExifTags, Image, ImageDraw, ImageFont
from prose import MEAN, Result, drawn_from

OUT = Path(__file__).parent / "pictures"
ICONS = Path(__file__).parents[1] / "src" / "genrobust" / "assets" / "pictograms"
STYLES = ("outline", "solid", "duotone", "emoji", "illustration", "hand-drawn", "pixel")
GRAY, PURPLE, ORANGE, GREEN = "#777777", "#8d5fd3", "#d9730d", "#2e8b57"  # distinct for color-blind readers
STUDY = "pictograms-full"
ARMS = {
    "real": GRAY,
    "drawing styles": PURPLE,
    "real+generated, drawing styles": ORANGE,
    "real+retrieved, drawing styles": GREEN,
}
NAMES = {"drawing styles": "real, drawing styles"}  # of an arm, where its own would not stand alone
COLUMNS = {  # of the overview: the class and the style of the generated and of the shifted icon
    "house": "outline", "tree": "solid", "bus": "duotone", "balloon": "emoji", "camera": "illustration", "car": "pixel",
}  # fmt: skip
CLASSES = (
    "airplane", "bicycle", "camera", "cat", "gift", "house", "key", "lock", "rocket", "tooth", "umbrella", "wheelchair",
)  # fmt: skip
DOUBTED = ("lock-000030", "lock-000040", "watch-000055", "watch-000037", "television-000000", "magnifier-000034")
BELIEVED = (
    "rocket-000055", "lightning-000008", "lightning-000009", "leaf-000050", "chair-000020", "scissors-000055",
)  # fmt: skip
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="the folder of the generated images")
    parser.add_argument("filter", type=Path, nargs="?", help="the folder of their filter")
    given = parser.parse_args()
    generated = generated_icons(given.dataset, given.filter)
    OUT.mkdir(exist_ok=True)
    save(overview(generated), "overview", drawn_from(STUDY))
    if given.filter:
        save(sheet(generated), "generated")


def generated_icons(dataset: Path, filtered: Path | None) -> list[Row]:
    """Return the generated icons in the order of their keys: class, style, encoded image, and score or None."""
    rejected = pq.read_table(filtered / "rejected.parquet").to_pylist() if filtered else []
    scores = {row["key"]: row["score"] for row in rejected}
    rows = []
    for sidecar in dataset.glob("[0-9]*.parquet"):
        with sidecar.with_suffix(".tar").open("rb") as tar:
            for row in pq.read_table(sidecar, columns=["key", "class_id", "style", "offset", "size"]).to_pylist():
                tar.seek(row["offset"])
                rows.append({**row, "image": tar.read(row["size"]), "score": scores.get(row["key"])})
    return sorted(rows, key=lambda row: row["key"])


def real_icons(split: str) -> list[Row]:
    """Return the icons of a table of Pictograms, in an order that favors no designer."""
    return sorted(pq.read_table(ICONS / f"{split}.parquet").to_pylist(), key=lambda row: row["sha256"])


def overview(generated: list[Row]) -> Image.Image:
    """Draw real, generated and shifted icons beside the accuracy of arms on the shifts."""
    train = [row for row in real_icons("real") if row["split"] == "train"]
    shifted = real_icons("shift")
    canvas = Image.new("RGB", (1000, 440), "white")
    draw = ImageDraw.Draw(canvas)
    blocks = (
        ("Real icons to train on: outlines", [first(train, name) for name in COLUMNS]),
        ("Generated icons of these classes", [first(generated, *column) for column in COLUMNS.items()]),
        ("Shifted test icons: other styles, designers", [first(shifted, *column) for column in COLUMNS.items()]),
    )
    for place, (title, rows) in enumerate(blocks):
        top = 8 + place * 145
        draw.text((10, top), title, fill="black", font=font(24))
        for column, row in enumerate(rows):
            canvas.paste(icon(row, 76), (10 + column * 84, top + 42))
    draw_results(draw, left=560, top=8)
    return canvas


def draw_results(draw: ImageDraw.ImageDraw, left: int, top: int) -> None:
    """Draw the accuracy of each arm on the mean of the shifts, with its interval."""
    study = Result.of(STUDY)
    draw.text((left, top), "Accuracy on shifted icons, %", fill="black", font=font(24))
    unit, height = 6.4, 86  # the pixels of a percent, beginning at 30, and of an arm
    bottom = top + 52 + height * len(ARMS)
    for percent in range(30, 91, 20):
        x = left + 8 + (percent - 30) * unit
        draw.line([(x, top + 46), (x, bottom)], fill="#dddddd", width=2)
        draw.text((x, bottom + 4), str(percent), fill=GRAY, font=font(22), anchor="ma")
    for place, (arm, color) in enumerate(ARMS.items()):
        score, y = study.score(arm, MEAN), top + 102 + place * height
        lo, at, hi = (left + 8 + (score[key] - 30) * unit for key in ("lo", "value", "hi"))
        draw.text((left + 16, y - 48), NAMES.get(arm, arm), fill="black", font=font(22))
        draw.line([(lo, y), (hi, y)], fill=color, width=4)
        draw.ellipse([(at - 9, y - 9), (at + 9, y + 9)], fill=color)
        draw.text((hi + 10, y), f"{score['value']:.1f}", fill=color, font=font(22), anchor="lm")


def sheet(generated: list[Row]) -> Image.Image:
    """Draw generated icons by class and style with their scores, and those on which the score and the eye differ."""
    known = sorted((row for row in generated if row["score"] is not None), key=lambda row: row["score"])
    grouped, by_key = defaultdict(list), {row["key"]: row for row in known}
    for row in known:
        grouped[row["class_id"], row["style"]].append(row)
        grouped[row["class_id"], "all"].append(row)
    rows = {style: [median(grouped[name, style]) for name in CLASSES] for style in STYLES}
    rows |= {"low score": [grouped[name, "all"][0] for name in CLASSES]}
    rows |= {"high score": [grouped[name, "all"][-1] for name in CLASSES]}
    rows |= {"the eye differs": [by_key[key] for key in (*DOUBTED, *BELIEVED)]}
    canvas = Image.new("RGB", (100 + 68 * len(CLASSES), 24 + 78 * len(rows) + 30), "white")
    draw = ImageDraw.Draw(canvas)
    for column, name in enumerate(CLASSES):
        draw.text((100 + column * 68 + 30, 4), name, fill="black", font=font(12), anchor="ma")
    for line, (title, found) in enumerate(rows.items()):
        top = 24 + 78 * line + 10 * (line >= len(STYLES)) + 10 * (line > len(STYLES) + 1)
        draw.text((4, top + 22), title, fill="black", font=font(13))
        for column, row in enumerate(found):
            canvas.paste(icon(row, 56), (100 + column * 68 + 2, top))
            name = f"{row['class_id']}\n" if row["class_id"] != CLASSES[column] else ""
            below = f"{name}{row['score']:.2f}"
            draw.text((100 + column * 68 + 30, top + 57), below, fill=GRAY, font=font(11), anchor="ma", align="center")
    return canvas


def first(rows: Iterable[Row], name: str, style: str = "outline") -> Row:
    """Return the first icon of a class and a style."""
    return next(row for row in rows if (row["class_id"], row["style"]) == (name, style))


def median(rows: list[Row]) -> Row:
    """Return the icon in the middle of `rows`."""
    return rows[len(rows) // 2]


def icon(row: Row, size: int) -> Image.Image:
    """Decode and resize an icon."""
    return Image.open(io.BytesIO(row["image"])).convert("RGB").resize((size, size), Image.Resampling.LANCZOS)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that comes with Pillow."""
    return ImageFont.load_default(size)


def save(picture: Image.Image, name: str, source: str = "") -> None:
    """Write a picture with few colors, which keeps the repository small, and with the results that it shows."""
    about = Image.Exif()
    about[ExifTags.Base.ImageDescription] = source
    flat = picture.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).convert("RGB")
    flat.save(OUT / f"{name}.webp", lossless=True, method=6, quality=100, exif=about if source else b"")


if __name__ == "__main__":
    main()
