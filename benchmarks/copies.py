"""How fast near copies of test images are found: JPEGs a second, and recall, beside perceptual hashes.

    pip install imagehash
    python benchmarks/copies.py

Half of the images are learned from and half are tested on. One in a hundred of the first is a copy of one of the
second: mirrored, at half the size, saved again or moved. The peer hashes every image as it is and mirrored (phash, 64
bits) and takes for a copy what differs in up to 8 bits.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from side_by_side import cores, table, use_cores, where_and_when

from genrobust.core import no_progress
from genrobust.data import find_near_copies, thumbnails
from genrobust.data.file_list import ListedImages, list_folder

SIDE, BITS, EVERY = 227, 8, 100
CHANGES: tuple[Callable[[Image.Image], Image.Image], ...] = (
    ImageOps.mirror,
    lambda image: image.resize((image.width // 2, image.height // 2)),
    lambda image: image,  # saved again, at a lower quality
    lambda image: Image.fromarray(np.roll(np.asarray(image), image.width // 32, axis=1)),
)


def picture(seed: int) -> Image.Image:
    """A picture as busy as a photograph, about 25 kB as a JPEG: noise with more power at low frequencies."""
    rng = np.random.default_rng(seed)
    total = np.zeros((SIDE, SIDE, 3), dtype=np.float32)
    for cells, weight in ((4, 60.0), (12, 40.0), (40, 20.0), (227, 6.0)):
        noise = (128 + 40 * rng.normal(size=(cells, cells, 3))).clip(0, 255).astype(np.uint8)
        total += (
            weight / 40 * (np.asarray(Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) - 128.0)
        )
    return Image.fromarray((128 + total).clip(0, 255).astype(np.uint8))


def write(folder: Path, count: int) -> int:
    """Write `count` JPEGs to learn from and as many to test on; return how many of the first are copies."""
    for side, first in (("learned", 0), ("tests", count)):
        (folder / side).mkdir(parents=True)
        for place in range(count):
            picture(first + place).save(folder / side / f"{place:06d}.jpg", quality=90)
    copies = range(0, count, EVERY)
    for number, place in enumerate(copies):
        original = Image.open(folder / "tests" / f"{place:06d}.jpg")
        CHANGES[number % len(CHANGES)](original).save(folder / "learned" / f"{place:06d}.jpg", quality=60)
    return len(copies)


def ours(folder: Path) -> np.ndarray:
    """Which of the images to learn from are copies: bool [N], by name."""
    sets = [
        ListedImages(side, list_folder(folder, [side]), {side: (0,)}, by_name=True) for side in ("learned", "tests")
    ]
    read = [thumbnails(images, no_progress)[0] for images in sets]
    return find_near_copies(sets[0], read[0], sets[1:], read[1:]) >= 0


def hashes(folder: Path) -> np.ndarray:
    """The same by perceptual hashes."""
    import imagehash

    def hashed(path: Path, mirror: bool) -> np.ndarray:
        image = Image.open(path)
        return imagehash.phash(ImageOps.mirror(image) if mirror else image).hash.ravel()

    learned, tests = (sorted((folder / side).iterdir()) for side in ("learned", "tests"))
    mine = np.stack([hashed(path, False) for path in learned]).astype(np.float32)
    found = np.zeros(len(mine), dtype=bool)
    for mirror in (False, True):
        theirs = np.stack([hashed(path, mirror) for path in tests]).astype(np.float32)
        for start in range(0, len(mine), 1000):
            part = mine[start : start + 1000]
            apart = part.sum(1)[:, None] + theirs.sum(1) - 2 * part @ theirs.T
            found[start : start + 1000] |= (apart <= BITS).any(1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="in both sets together")
    arguments = parser.parse_args()
    use_cores(cores())
    torch.set_num_threads(cores())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        copies = write(Path(folder), arguments.images // 2)
        planted = np.arange(arguments.images // 2) % EVERY == 0
        for name, find in (("genrobust", ours), ("imagehash, phash", hashes)):
            began, began_cpu = time.perf_counter(), time.process_time()
            try:
                found = find(Path(folder))
            except ImportError:
                continue
            wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
            rates = f"{arguments.images / cpu:,.0f}", f"{arguments.images / wall:,.0f}"
            rows.append([name, *rates, f"{found[planted].sum()} of {copies}", f"{found[~planted].sum()}"])
    print(table(["", "images/s a core", f"images/s, {cores()} cores", "copies found", "others taken for copies"], rows))
    print(where_and_when())


if __name__ == "__main__":
    main()
