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

from genrobust import Study, load_recipe
from genrobust.audit.fingerprint import NEAR, frame, nearest

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


def rendered(svgs: list[str]) -> list[np.ndarray]:
    """The drawings that can be read and are not blank."""
    images = []
    for svg in svgs:
        try:
            image = render(svg)
        except (ValueError, OSError):  # what resvg and Pillow raise for a drawing that they cannot read
            continue
        if image.std() > FLAT:
            images.append(image)
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True, help="the unpacked npm package @iconify/json")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--without", nargs="*", default=[], metavar="STYLE", help="styles that it must never see")
    args = parser.parse_args()
    families = yaml.safe_load((HERE / "families.yaml").read_text())["families"]
    svgs: dict[str, list[tuple[str, str, str]]] = {style: [] for style in MOST if style not in args.without}
    for family in families.values():
        if family["side"] != "wild":
            continue
        for name, styles in family["sets"].items():
            defaults = json.loads((args.package / "json" / f"{name}.json").read_text())
            for icon_name, icon in defaults["icons"].items():
                style, _ = style_of(icon_name, styles)
                if style in svgs:
                    svgs[style].append((name, icon_name, to_svg(icon, defaults, margin=0)))
    rng = random.Random(0)
    images: list[np.ndarray] = []
    with ProcessPoolExecutor() as pool:
        for style, found in sorted(svgs.items()):
            found.sort()
            rng.shuffle(found)
            chosen = [svg for _, _, svg in found[: MOST[style]]]
            chunks = [chosen[i : i + 250] for i in range(0, len(chosen), 250)]
            drawn = [image for part in pool.map(rendered, chunks) for image in part]
            print(f"{len(drawn)} {style}", flush=True)
            images += drawn
    unique = list({hashlib.sha256(image.tobytes()).digest(): image for image in images}.values())
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.save(args.out, np.stack(unique))
    print(f"{len(unique)} images in {args.out}", flush=True)
    tests = Study(load_recipe("pictograms"), args.out.parent).data.tests
    frames = framed(map(Image.fromarray, unique))
    for name, test in tests.items():
        distances = nearest(framed(test.image(index) for index in range(len(test.keys))), frames).distance
        print(f"{name}: {(distances < NEAR).sum()} of {len(distances)} images have a near copy among them", flush=True)


def framed(images: Iterable[Image.Image]) -> np.ndarray:
    """Their small pictures, which `nearest` compares."""
    return np.stack([frame(image) for image in images])


if __name__ == "__main__":
    main()
