"""Find the icons that belong to a class in the npm package @iconify/json, and render them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import resvg_py
import yaml
from PIL import Image

HERE = Path(__file__).parent
SIZE = 64  # pixels a side
MARGIN = 2  # white pixels on every side, so that sets drawn to the edge do not touch it
NEW = "new"  # the side of families that nothing in the package comes from
FAINT = 3.0  # mean darkness (of 255) below which nothing, or next to nothing, was drawn

# A set that draws outlines holds a few filled drawings: share of the canvas where a disc of 11 pixels
# fits into the ink. Strokes are 3 to 6 pixels wide, so an outline has next to none of it.
SOLID_CORE = 0.035

VARIANT = re.compile(r"(-\d+x\d+|-\d+px|-\d+[a-z]?|\d+|-one|-two|-three|-four|-five|-six|-alt|-sharp|-small|2x)$")


@dataclass
class Drawing:
    """One icon on its way into the dataset."""

    side: str
    family: str
    set: str
    name: str
    style: str
    class_id: str
    stem: str
    license: str
    svg: str
    direct: bool  # the name itself matched, not an alias of it
    pixels: np.ndarray = field(default_factory=lambda: np.empty(0))
    sha256: str = ""
    split: str = ""
    known: bool = False  # a real drawing that resembles one of *wild*, and is therefore for training only

    @property
    def key(self) -> str:
        return f"{self.set}--{self.name}"


def style_of(name: str, styles: dict[str, str]) -> tuple[str, str]:
    """The style in an icon's name, and the name without any affix: the longest match decides."""
    matches = [a for a in styles if (name.startswith(a) if a.endswith("-") else name.endswith(a))]
    if not matches:
        return "drop", name
    style = styles[max(matches, key=len)]
    for affix in sorted(matches, key=len, reverse=True):
        if affix.endswith("-"):
            name = name.removeprefix(affix)
        elif affix:
            name = name.removesuffix(affix)
    return style, name


def stem_of(name: str) -> str:
    """The name without marks of variants: sizes, trailing numbers, `-alt`, `-sharp`."""
    name = name.lower()
    while (shorter := VARIANT.sub("", name)) not in ("", name):
        name = shorter.rstrip("-")
    return name


def to_svg(icon: dict, defaults: dict, margin: int = MARGIN) -> str:
    """A square, black-on-nothing SVG whose view box keeps the drawing's aspect and is centered."""
    left, top = icon.get("left", defaults.get("left", 0)), icon.get("top", defaults.get("top", 0))
    width, height = icon.get("width", defaults.get("width", 16)), icon.get("height", defaults.get("height", 16))
    side = max(width, height) * SIZE / (SIZE - 2 * margin)
    box = f"{left - (side - width) / 2:.6g} {top - (side - height) / 2:.6g} {side:.6g} {side:.6g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{SIZE}" '
        f'height="{SIZE}" viewBox="{box}" color="#000000">{icon["body"]}</svg>'
    )


def candidates(package: Path, counts: Counter[str], file: Path = HERE / "families.yaml") -> Iterator[Drawing]:
    """Every icon of the package whose family is listed in `file` and whose name is a class's, each drawing once."""
    families = yaml.safe_load(file.read_text())["families"]
    class_of = {n: c["id"] for c in load_classes() for n in c["names"]}
    excluded = {(r["set"], r["name"]): r["reason"] for r in load_exclusions()}
    for family, spec in families.items():
        for set_id, styles in spec.get("sets", {}).items():
            data = json.loads((package / "json" / f"{set_id}.json").read_text())
            icons, aliases = data["icons"], data.get("aliases", {})
            chosen: dict[str, Drawing] = {}
            for name in [*icons, *aliases]:
                target = name
                while target in aliases:  # an alias that turns or mirrors its parent is another drawing
                    alias = aliases[target]
                    target = "" if alias.keys() & {"rotate", "hFlip", "vFlip"} else alias["parent"]
                if target not in icons or icons[target].get("hidden"):
                    continue
                style, base = style_of(target, styles)
                if name != target:
                    alias_style, base = style_of(name, styles)
                    style = style if alias_style == style else "drop"
                class_id = class_of.get(stem_of(base))
                if class_id is None or style == "drop":
                    continue
                if (set_id, target) in excluded:
                    counts[f"excluded: {excluded[set_id, target]}"] += name == target or target not in chosen
                    continue
                if 'fill="freeze"' in icons[target]["body"]:  # drawn by its animation: empty at the start
                    counts["animated"] += 1
                    continue
                if target in chosen:
                    if not chosen[target].direct and chosen[target].class_id != class_id:
                        counts["aliases in two classes"] += 1
                    continue
                chosen[target] = Drawing(
                    spec.get("side", NEW), family, set_id, target, style, class_id,
                    stem_of(style_of(target, styles)[1]),
                    data["info"]["license"].get("spdx") or data["info"]["license"]["title"],
                    to_svg(icons[target], data), name == target,
                )  # fmt: skip
            yield from chosen.values()


def load_classes() -> list[dict]:
    classes = yaml.safe_load((HERE / "classes.yaml").read_text())["classes"]
    names = Counter(n for c in classes for n in c["names"])
    if twice := [n for n, k in names.items() if k > 1]:
        raise ValueError(f"names in two classes: {twice}")
    return classes


def load_exclusions() -> list[dict[str, str]]:
    with (HERE / "exclusions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def render(svg: str) -> np.ndarray:
    """64x64x3 bytes on white; raises when the SVG cannot be read."""
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, background="#ffffff"))
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def rendered(drawings: Iterable[Drawing], counts: Counter[str]) -> list[Drawing]:
    """Render all drawings; leave out those that cannot be parsed or leave the canvas white."""
    kept = []
    for drawing in drawings:
        counts["candidates"] += 1
        try:
            drawing.pixels = render(drawing.svg)
        except ValueError:
            counts["unreadable"] += 1
            continue
        if 255 - drawing.pixels.mean() < FAINT:
            counts["blank"] += 1
            continue
        if drawing.style == "outline" and solid_core(drawing.pixels) > SOLID_CORE:
            counts[f"filled drawing in an outline style, {drawing.side}"] += 1
            continue
        drawing.sha256 = hashlib.sha256(drawing.pixels.tobytes()).hexdigest()
        kept.append(drawing)
    return kept


def solid_core(pixels: np.ndarray) -> float:
    """Share of the canvas that stays dark after the ink is worn off by five pixels from every edge."""
    ink = pixels.max(axis=2) < 128
    for _ in range(5):
        padded = np.pad(ink, 1)
        ink = ink & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return float(ink.mean())
