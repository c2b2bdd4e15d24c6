"""Thumbnails: the small pictures of images by which copies are found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image

from genrobust.core import ImageSet, UserError, cores
from genrobust.store import Advance

# Pixels a side of the luma, and of each of the two planes of chroma. At 48 px, line icons of two designers differ in
# the width of their lines, and 300,000 images need 0.8 GB.
SIDE, CHROMA = 48, 12
# The rows of a thumbnail: the luma, and below it the planes of chroma, packed.
ROWS = SIDE + 2 * CHROMA**2 // SIDE
_BATCH = 256  # images


def thumbnail(image: Image.Image) -> np.ndarray:
    """Shrink an RGB `image` to a square: uint8 [ROWS, SIDE]."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0).convert("YCbCr")
    coarse = np.asarray(small.resize((CHROMA, CHROMA), Image.Resampling.BOX))
    chroma = coarse[..., 1:].transpose(2, 0, 1)
    return np.concatenate([np.asarray(small)[..., 0], chroma.reshape(-1, SIDE)])


def thumbnails(images: ImageSet, advance: Advance) -> tuple[np.ndarray, list[int]]:
    """Read every image once, at a reduced size if its file allows.

    Returns:
        uint8 [N, ROWS, SIDE], and the places of the images that cannot be read.
    """
    made = np.zeros((len(images), ROWS, SIDE), dtype=np.uint8)
    broken: list[int] = []

    def read(index: int) -> None:
        try:
            made[index] = thumbnail(images.reduced(index, SIDE))
        except UserError:
            broken.append(index)

    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(images), _BATCH):
            batch = range(start, min(start + _BATCH, len(images)))
            list(pool.map(read, batch))
            advance(len(batch))
    return made, sorted(broken)


def luma_of(thumbnails: np.ndarray) -> torch.Tensor:
    """Return the brightness of each pixel, 0 to 255: float32 [N, SIDE, SIDE]."""
    return torch.from_numpy(thumbnails[:, :SIDE].astype(np.float32))


def chroma_of(thumbnails: np.ndarray) -> torch.Tensor:
    """Return Cb and Cr, -128 to 127, 0 for gray: float32 [N, 2, CHROMA, CHROMA]."""
    chroma = thumbnails[:, SIDE:].reshape(-1, 2, CHROMA, CHROMA)
    return torch.from_numpy(chroma.astype(np.float32) - 128)
