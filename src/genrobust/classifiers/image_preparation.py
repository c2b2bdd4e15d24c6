"""Prepare images for classifiers, and say how in words."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

BICUBIC = "bicubic"  # the interpolation of every network that names no other


def prepare(image: Image.Image, size: int, crop_pct: float = 1, interpolation: str = BICUBIC) -> np.ndarray:
    """Return `image` as uint8 [size, size, 3]: its shorter side resized (antialiased), the center cropped.

    The crop keeps the share `crop_pct` of the shorter side, which is resized to `size` / `crop_pct`, rounded down as
    timm does: 256 px for 224 px at 0.875. The pixels are the same as in timm's own validation (torchvision's Resize and
    CenterCrop), so that a classifier sees the same image wherever it runs. Only reading differs from timm for some
    files: `read_image` rotates an image by its EXIF data, lays a transparent one on white, and scales 16 bits.
    """
    side = math.floor(size / crop_pct)
    if image.size == (size, size) and side == size:
        return np.asarray(image, dtype=np.uint8)
    width, height = (side * length // min(image.size) for length in image.size)
    left = round((width - size) / 2)
    top = round((height - size) / 2)
    resized = image.resize((width, height), Image.Resampling[interpolation.upper()])
    cropped = resized.crop((left, top, left + size, top + size))
    return np.asarray(cropped, dtype=np.uint8)


def protocol(size: int, crop_pct: float = 1, flip: bool = False, interpolation: str = BICUBIC) -> str:
    """Say how `prepare` and `flip` treat an image. Only accuracies under one protocol compare."""
    side = math.floor(size / crop_pct)
    resized = "resized" if side == size else f"resized to {side} px"
    mirrored = "logits averaged over the image and its mirror" if flip else "no flip"
    return f"{size} px: shorter side {resized} ({interpolation}, antialiased), center crop; {mirrored}; float32"
