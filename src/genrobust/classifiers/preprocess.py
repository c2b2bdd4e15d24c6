"""Prepares images for classifiers, and says how in words."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

BICUBIC = "bicubic"  # the interpolation of every network that names no other


def prepare(image: Image.Image, size: int, crop_pct: float = 1, interpolation: str = BICUBIC) -> np.ndarray:
    """Return `image` as uint8 [size, size, 3]: its shorter side resized (antialiased), the center cropped.

    The crop keeps the share `crop_pct` of the shorter side, which is resized to `size` / `crop_pct`, rounded down as
    timm does: 256 px for 224 px at 0.875. The pixels are those of timm's own validation (torchvision's Resize and
    CenterCrop), so that a classifier sees the same image wherever it runs. Only what is read differs from timm for some
    files: `read_image` turns an image as its camera says, lays a transparent one on white, and scales 16 bits.
    """
    side = math.floor(size / crop_pct)
    if image.size != (size, size) or side != size:
        short = min(image.size)
        width, height = (side if length == short else int(side * length / short) for length in image.size)
        left, top = (round((length - size) / 2) for length in (width, height))
        resized = image.resize((width, height), Image.Resampling[interpolation.upper()])
        image = resized.crop((left, top, left + size, top + size))
    return np.asarray(image, dtype=np.uint8)


def protocol(size: int, crop_pct: float = 1, flip: bool = False, interpolation: str = BICUBIC) -> str:
    """Return how `prepare` and `flip` treat an image, in words: accuracies compare under the same alone."""
    side = math.floor(size / crop_pct)
    resized = "resized" if side == size else f"resized to {side} px"
    mirrored = "logits averaged over the image and its mirror" if flip else "no flip"
    return f"{size} px: shorter side {resized} ({interpolation}, antialiased), center crop; {mirrored}; float32"
