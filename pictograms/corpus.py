"""Render the autoencoder's corpus: drawings of the *wild* families, of any class, without labels.

    python pictograms/corpus.py --package path/to/package --out build/corpus.npy

About 40,000, each once: all of the colored styles, a sample of the plentiful ones; uint8 [N, 64, 64, 3]. It prints how
many images of each test set have a near copy among them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from drawings import HERE, render, style_of, to_svg
from PIL import Image

from genrobust.data.readers.pictograms import load_pictograms
from genrobust.leaks import NEAR, nearest, thumbnail

# Drawings taken of each style. The colored ones are what an autoencoder finds hard, so they are taken almost whole.
MOST = {
    "outline": 9000,
    "solid": 8000,
    "duotone": 6000,
    "emoji": 7000,
    "illustration": 9000,
    "hand-drawn": 2500,
    "pixel": 1500,
}
FLAT = 8  # gray levels of standard deviation under which next to nothing was drawn


def rendered(drawings: list[tuple[str, str]]) -> list[tuple[str, np.ndarray]]:
    """Those of the drawings, keys and SVGs, that can be read and are not blank."""
    images = []
    for key, svg in drawings:
        try:
            image = render(svg)
        except (ValueError, OSError):  # what resvg and Pillow raise for a drawing that they cannot read
            continue
        if image.std() > FLAT:
            images.append((key, image))
    return images


def drawings_of(package: Path) -> dict[str, list[tuple[str, str]]]:
    """Keys and SVGs of all drawings of the *wild* families, by style and in the order of keys."""
    families = yaml.safe_load((HERE / "families.yaml").read_text())["families"]
    found: dict[str, list[tuple[str, str, str]]] = {style: [] for style in MOST}
    for family in sorted(name for name, f in families.items() if f["side"] == "wild"):
        for set_id, affixes in families[family]["sets"].items():
            defaults = json.loads((package / "json" / f"{set_id}.json").read_text())
            for name, icon in defaults["icons"].items():
                style, _ = style_of(name, affixes)
                if style in found:
                    found[style].append((set_id, name, to_svg(icon, defaults, margin=0)))
    return {style: [(f"{s}--{name}", svg) for s, name, svg in sorted(drawn)] for style, drawn in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True, help="the unpacked npm package @iconify/json")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    svgs = drawings_of(args.package)
    rng = random.Random(0)
    images: list[np.ndarray] = []
    with ProcessPoolExecutor() as pool:
        for style, found in sorted(svgs.items()):
            rng.shuffle(found)
            drawn = [image for _, image in in_parallel(pool, found[: MOST[style]])]
            print(f"{len(drawn)} {style}", flush=True)
            images += drawn
    unique = list({hashlib.sha256(image.tobytes()).digest(): image for image in images}.values())
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.save(args.out, np.stack(unique))
    print(f"{len(unique)} images in {args.out}", flush=True)
    tests = load_pictograms().tests
    frames = framed(map(Image.fromarray, unique))
    for name, test in tests.items():
        distances = nearest(framed(test.image(index) for index in range(len(test.keys))), frames).distance
        print(f"{name}: {(distances < NEAR).sum()} of {len(distances)} images have a near copy among them", flush=True)


def in_parallel(pool: ProcessPoolExecutor, drawings: list[tuple[str, str]]) -> list[tuple[str, np.ndarray]]:
    """`rendered`, by many processes."""
    chunks = [drawings[i : i + 250] for i in range(0, len(drawings), 250)]
    return [image for part in pool.map(rendered, chunks) for image in part]


def framed(images: Iterable[Image.Image]) -> np.ndarray:
    """Their small pictures, which `nearest` compares."""
    return np.stack([thumbnail(image) for image in images])


if __name__ == "__main__":
    main()
