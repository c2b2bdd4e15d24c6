"""Make test sets of icons by designers of whom nothing in the package comes: neither an image nor what a model learned.

    python pictograms/new_designers.py --package path/to/package --clones path/to/clones --out build/new-designers

One folder for each style, with a folder for each class and files named FAMILY--SET--NAME.png. `new_designers.yaml`
lists the families, `exclusions.csv` what was left out after a look. An icon that resembles one of the package is left
out, too, whatever side that is on.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import resvg_py
import yaml
from build import NEAR, capped, fingerprint, grouped, ink_distance, without_exact_duplicates
from drawings import (
    FAINT,
    HERE,
    MARGIN,
    NEW,
    SIZE,
    Drawing,
    candidates,
    load_classes,
    load_exclusions,
    rendered,
    stem_of,
)
from PIL import Image, ImageOps

from genrobust.data.readers.pictograms import load_pictograms
from genrobust.leaks import NEAR as COPY, nearest, thumbnail

PALE = 200  # the darkest pixel of a drawing of which nearly nothing is left on white
FAMILIES = HERE / "new_designers.yaml"


def drawings_in_folders(package: Path, clones: Path) -> Iterator[Drawing]:
    """The icons of the families that are files of a repository, with their pixels, 64x64x3 on white."""
    class_of = {name: c["id"] for c in load_classes() for name in c["names"]}
    excluded = {(row["set"], row["name"]) for row in load_exclusions()}
    emoji = json.loads((package / "json" / "openmoji.json").read_text())["chars"]
    for family, spec in yaml.safe_load(FAMILIES.read_text())["families"].items():
        if "folder" not in spec:
            continue
        for file in sorted((clones / spec["folder"]).iterdir()):
            name = file.stem.lower().replace("_", "-")
            if spec.get("codepoints"):
                name = emoji.get(name.removeprefix("u+"), "")
            class_id = class_of.get(stem_of(name)) if file.suffix in (".svg", ".png") else None
            if class_id is not None and (family, name) not in excluded:
                pixels = on_white(file)
                yield Drawing(
                    NEW, family, family, name, spec["style"], class_id, stem_of(name), "", "", True, pixels,
                    hashlib.sha256(pixels.tobytes()).hexdigest(),
                )  # fmt: skip


def on_white(file: Path) -> np.ndarray:
    """An icon of a file in the middle of the canvas; pixels of a small picture stay sharp."""
    if vector := file.suffix == ".svg":
        png = bytes(resvg_py.svg_to_bytes(svg_string=file.read_text(encoding="utf-8"), width=8 * SIZE))
    image = Image.open(io.BytesIO(png) if vector else file).convert("RGBA")
    inner = (SIZE - 2 * MARGIN,) * 2
    small = ImageOps.contain(image, inner, Image.Resampling.BOX if vector else Image.Resampling.NEAREST)
    canvas = Image.new("RGBA", (SIZE, SIZE), "white")
    canvas.alpha_composite(small, ((SIZE - small.width) // 2, (SIZE - small.height) // 2))
    return np.asarray(canvas.convert("RGB"))


def unlike_known(drawings: list[Drawing]) -> list[Drawing]:
    """Those near no image of their class in the package, and a copy, as an audit says, of none of any class."""
    data = load_pictograms()
    sets = [data.train, data.val, data.retrieval, data.shifted_val, *data.tests.values()]
    known = [(data.labels.ids[label], images.image(i)) for images in sets for i, label in enumerate(images.labels)]
    kept = []
    for same_class in grouped(drawings, lambda d: d.class_id):
        prints = np.stack([fingerprint(np.asarray(image)) for of, image in known if of == same_class[0].class_id])
        kept += [d for d in same_class if ink_distance(fingerprint(d.pixels), prints).min() >= NEAR]
    frames = np.stack([thumbnail(image) for _, image in known])
    apart = nearest(np.stack([thumbnail(Image.fromarray(d.pixels)) for d in kept]), frames).distance
    return [d for d, distance in zip(kept, apart, strict=True) if distance >= COPY]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True, help="the unpacked npm package @iconify/json")
    parser.add_argument("--clones", type=Path, required=True, help="a folder with the repositories, OWNER/NAME")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    counts: Counter[str] = Counter()
    drawings = rendered(candidates(args.package, counts, FAMILIES), counts)
    drawings += drawings_in_folders(args.package, args.clones)
    visible = [d for d in drawings if 255 - d.pixels.mean() >= FAINT and d.pixels.min() < PALE]
    drawings = without_exact_duplicates(visible, counts)
    unlike = unlike_known(drawings)
    kept = capped(unlike, counts)
    for drawing in kept:
        file = args.out / drawing.style / drawing.class_id / f"{drawing.family}--{drawing.key}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawing.pixels).save(file)
    print(f"{len(kept)} images; {len(drawings) - len(unlike)} left out that resemble one of the package")
    for same_style in grouped(kept, lambda d: d.style):
        families = Counter(d.family for d in same_style)
        classes = len({d.class_id for d in same_style})
        print(f"{same_style[0].style}: {len(same_style)} images of {classes} classes, {dict(families.most_common())}")


if __name__ == "__main__":
    main()
