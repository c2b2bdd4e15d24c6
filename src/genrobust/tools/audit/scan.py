"""One pass over an image set, for the measures that need no model."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from genrobust.classifiers import prepare
from genrobust.core import PART, Advance, Arrays, ImageSet, KeptParts, check_not_empty, cores
from genrobust.data import frame

THUMBNAIL = 8  # pixels a side of the features that need no model: 192 numbers of color and layout


@dataclass(frozen=True, slots=True)
class Scan:
    """The data that one pass reads from N images.

    Attributes:
        frames: uint8 [N, 72, 64], which find near duplicates.
        sha256: Hashes of their size and decoded pixels, which find exact ones.
        thumbnails: float32 [N, 192], features (1 minus color: paper is 0).
        fingerprint: That of the images.
    """

    frames: np.ndarray
    sha256: tuple[str, ...]
    thumbnails: np.ndarray
    fingerprint: str


def scan(images: ImageSet, parts: KeptParts, advance: Advance) -> Scan:
    """Read every image once, with a few threads.

    Args:
        parts: Stores finished parts.
        advance: Called with the number of images read.

    Raises:
        UserError: An empty set, or an image that cannot be read.
    """
    check_not_empty(images)
    with ThreadPoolExecutor(min(8, cores())) as pool:

        def read_image(index: int) -> tuple[np.ndarray, bytes, np.ndarray]:
            image = images.image(index)
            return frame(image), pixel_sha256(image).encode(), _thumbnail(image)

        def read_part(items: range) -> Arrays:
            read = []
            for entry in pool.map(read_image, items):
                read.append(entry)
                advance(1)
            frames, hashes, thumbnails = zip(*read, strict=True)
            return {"frames": np.stack(frames), "sha256": np.array(hashes), "thumbnails": np.stack(thumbnails)}

        joined = parts.child("scan", images.fingerprint).run(len(images), PART, read_part, advance)
    hashes = tuple(joined["sha256"].astype(str).tolist())
    return Scan(joined["frames"], hashes, joined["thumbnails"], images.fingerprint)


def pixel_sha256(image: Image.Image) -> str:
    """Return the hex SHA-256 of width, height and decoded RGB pixels: the same for every encoding of the file."""
    hashed = hashlib.sha256(f"{image.width} {image.height} ".encode())
    hashed.update(image.convert("RGB").tobytes())
    return hashed.hexdigest()


def _thumbnail(image: Image.Image) -> np.ndarray:
    return 1 - prepare(image, THUMBNAIL).ravel().astype(np.float32) / 255
