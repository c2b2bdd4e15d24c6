"""Write a pool of drawings without labels, of any thing, for a CLIP that has learned nothing of their designers.

    python pictograms/pool.py --package path/to/package --out build/search/pool
    python pictograms/pool.py --package path/to/package --out build/search/pool --rate runs/searches/*.parquet

All drawings of the *wild* families that are to be "searched" (`images.halves`), each once, without near copies of test
images. With `--rate` it counts how many of the images that searches found have a name of their class, and how many
of a pool could have been found: a search knows neither.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from corpus import MOST, drawings_of, framed, in_parallel
from drawings import MARGIN, candidates
from PIL import Image

from genrobust.data.copies.fingerprint import NEAR, nearest
from genrobust.data.readers.pictograms import load_pictograms
from genrobust.data.searches import read_search


def write_pool(package: Path, out: Path) -> None:
    """One PNG for each drawing, named by its set and its name."""
    with ProcessPoolExecutor() as pool:
        by_style = drawings_of(package, "searched", MOST, MARGIN)
        drawn = [image for drawings in by_style.values() for image in in_parallel(pool, drawings)]
    unique = {hashlib.sha256(image.tobytes()).digest(): (key, image) for key, image in drawn}
    kept = list(unique.values())
    frames = framed(Image.fromarray(image) for _, image in kept)
    tests = framed(test.image(i) for test in load_pictograms().tests.values() for i in range(len(test.keys)))
    apart = nearest(frames, tests).distance
    out.mkdir(parents=True)
    for (key, image), distance in zip(kept, apart, strict=True):
        if distance >= NEAR:
            Image.fromarray(image).save(out / f"{key}.png")
    print(f"{(apart >= NEAR).sum()} images in {out}; {(apart < NEAR).sum()} near copies of test images left out")


def rate(package: Path, pool: Path, searches: list[Path]) -> None:
    """Print how many images have a name of a class, of the pool, and of theirs, of what searches found in it."""
    class_of = {drawing.key: drawing.class_id for drawing in candidates(package, Counter())}
    everything = [class_of.get(path.stem) for path in pool.iterdir()]
    print(f"{pool}: {len(everything)} images, {sum(name is not None for name in everything)} with a name of a class")
    ids = load_pictograms().labels.ids
    for path in searches:
        found = read_search(path)
        right = [
            class_of.get(Path(key).stem) == ids[label] for key, label in zip(found.keys, found.labels, strict=True)
        ]
        classes = len(np.unique(found.labels))
        print(
            f"{path.name}: {len(right)} images of {classes} classes, {100 * np.mean(right):.1f} % with a name of theirs"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True, help="the unpacked npm package @iconify/json")
    parser.add_argument("--out", type=Path, required=True, help="the pool: a new folder, or with --rate an old one")
    parser.add_argument("--rate", type=Path, nargs="*", default=[], metavar="SEARCH")
    args = parser.parse_args()
    if args.rate:
        rate(args.package, args.out, args.rate)
    else:
        write_pool(args.package, args.out)


if __name__ == "__main__":
    main()
