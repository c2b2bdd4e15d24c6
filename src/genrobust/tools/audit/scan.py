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
from genrobust.tools.audit.pixels import count_pixels, pixel_statistics
from genrobust.tools.audit.results import PixelStatistics

THUMBNAIL = 8  # pixels a side of the features that need no model: 192 numbers of color and layout
LARGEST = 256  # pixels: images are compared at the size of the smaller set, but at no more than this
_SAMPLE = 32  # images whose size is looked at
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Scan:
    """The data that one pass reads from N images.

    Attributes:
        frames: uint8 [N, 72, 64], which find near duplicates.
        sha256: Hashes of their size and decoded pixels, which find exact ones.
        thumbnails: float32 [N, 192], features (1 minus color: paper is 0).
        pixels: Statistics of the pixels.
        inputs: The fingerprint of the images, and the size at which the statistics are measured.
    """

    frames: np.ndarray
    sha256: tuple[str, ...]
    thumbnails: np.ndarray
    pixels: PixelStatistics
    inputs: tuple[str, int]


def common_size(*sets: ImageSet) -> int:
    """Choose the pixels a side at which `sets` are compared: the smallest median shorter side, LARGEST at most."""

    def median(images: ImageSet) -> int:
        places = np.linspace(0, len(images) - 1, min(len(images), _SAMPLE)).astype(int)
        return int(np.median([min(images.image(int(i)).size) for i in places]))

    return max(THUMBNAIL, min(LARGEST, *(median(images) for images in sets)))


def scan(images: ImageSet, size: int, parts: KeptParts, advance: Advance) -> Scan:
    """Read every image once, with a few threads.

    Args:
        size: The pixels a side to which images are prepared for the statistics.
        parts: Stores finished parts.
        advance: Called with the number of images read.

    Raises:
        UserError: An empty set, or an image that cannot be read.
    """
    check_not_empty(images)
    inputs = images.fingerprint, size
    with ThreadPoolExecutor(min(8, cores())) as pool:

        def read_image(index: int) -> tuple[np.ndarray, bytes, np.ndarray]:
            image = images.image(index)
            return frame(image), pixel_sha256(image).encode(), prepare(image, size)

        def read_part(items: range) -> Arrays:
            frames, hashes, thumbnails, totals = [], [], [], []
            for start in range(0, len(items), _BATCH):
                batch = list(pool.map(read_image, items[start : start + _BATCH]))
                frames += [entry[0] for entry in batch]
                hashes += [entry[1] for entry in batch]
                thumbnails += [_thumbnail(entry[2]) for entry in batch]
                totals.append(count_pixels(np.stack([entry[2] for entry in batch])))
                advance(len(batch))
            arrays = {"frames": np.stack(frames), "sha256": np.array(hashes), "thumbnails": np.stack(thumbnails)}
            return arrays | {"totals": np.stack(totals)}

        joined = parts.child("scan", *inputs).run(len(images), PART, read_part, advance)
    statistics = pixel_statistics(joined["totals"].sum(axis=0), size)
    hashes = tuple(joined["sha256"].astype(str).tolist())
    return Scan(joined["frames"], hashes, joined["thumbnails"], statistics, inputs)


def pixel_sha256(image: Image.Image) -> str:
    """Return the hex SHA-256 of width, height and decoded RGB pixels: the same for every encoding of the file."""
    hashed = hashlib.sha256(f"{image.width} {image.height} ".encode())
    hashed.update(image.convert("RGB").tobytes())
    return hashed.hexdigest()


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    small = Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return 1 - np.asarray(small, dtype=np.float32).ravel() / 255
