"""Hashes of image files, by which exact copies are found."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from genrobust.core import ImageSet, progress_bar, reading
from genrobust.store import hash_file

BYTES = 32  # of a SHA-256
# Files read at once: a network file system answers each slowly, and several together.
WORKERS = 8
# Images that a pool of threads gets at once: it keeps a kilobyte for each.
BATCH = 10_000


def hash_contents(images: ImageSet) -> np.ndarray | None:
    """Return the SHA-256 of the file of each image, uint8 [N, 32]. None if the images are no files."""
    if not len(images) or images.encoded(0) is None:
        return None
    hashes = np.zeros((len(images), BYTES), dtype=np.uint8)

    def hash_one(index: int) -> None:
        source = images.encoded(index)
        assert source is not None
        with reading(f"the image {source if isinstance(source, Path) else images.keys[index]}"):
            if isinstance(source, Path):
                digest = hash_file(source)
            else:
                digest = hashlib.sha256(source).hexdigest()
        hashes[index] = np.frombuffer(bytes.fromhex(digest), dtype=np.uint8)

    with ThreadPoolExecutor(WORKERS) as pool, progress_bar(f"reading {images.name}", len(images), "images") as bar:
        for start in range(0, len(images), BATCH):
            for _ in pool.map(hash_one, range(start, min(start + BATCH, len(images)))):
                bar.advance()
    return hashes
