"""The 15 corruptions of Hendrycks and Dietterich (2019), by which ImageNet-C was made, for images of any size.

Their library is no longer maintained and needs OpenCV and ImageMagick. These use NumPy, SciPy and Pillow. Strengths are
those of Tiny-ImageNet-C, whose images have 64 pixels a side. Lengths of blurs, snow and waves grow with the shorter
side. Differences: frost is drawn instead of pasted from photographs, glass blur moves all pixels at once, and fog and
motion blur are made by other algorithms. So accuracies do not compare with published ones.

Each function takes an image `x`, float [H, W, 3] from 0 to 1, its strength, a generator of random numbers, and the
shorter side divided by 64. It returns the corrupted image, which may leave the range. A stronger corruption draws the
same numbers, except for shot noise.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

Corrupt = Callable[[np.ndarray, Any, np.random.Generator, float], np.ndarray]
SIDE = 64  # pixels a side of the images that the strengths are made for


def corrupt(image: Image.Image, name: str, severity: int, seed: int) -> Image.Image:
    """Return `image` as RGB of the same size under the corruption `name`, at a severity from 1 to 5."""
    function, strengths = CORRUPTIONS[name]
    pixels = np.asarray(image.convert("RGB"), dtype=np.float64) / 255
    made = function(pixels, strengths[severity - 1], np.random.default_rng(seed), min(image.size) / SIDE)
    return _to_image(made)


def _to_image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8))


def _gaussian_noise(x: np.ndarray, sd: float, rng: np.random.Generator, scale: float) -> np.ndarray:
    return x + sd * rng.standard_normal(x.shape)


def _shot_noise(x: np.ndarray, photons: float, rng: np.random.Generator, scale: float) -> np.ndarray:
    return rng.poisson(photons * x) / photons


def _impulse_noise(x: np.ndarray, share: float, rng: np.random.Generator, scale: float) -> np.ndarray:
    drawn = rng.random(x.shape)
    return np.where(drawn < share / 2, 0, np.where(drawn > 1 - share / 2, 1, x))


def _defocus_blur(x: np.ndarray, strength: tuple[float, float], rng: np.random.Generator, scale: float) -> np.ndarray:
    radius, softness = (scale * value for value in strength)
    reach = math.ceil(radius + 2 * softness)
    along = np.arange(-reach, reach + 1)
    disk = (np.hypot(along[:, None], along) <= radius).astype(float)
    disk = ndimage.gaussian_filter(disk, softness, mode="constant")
    return ndimage.convolve(x, disk[..., None] / disk.sum())


def _glass_blur(x: np.ndarray, strength: tuple[float, int, int], rng: np.random.Generator, scale: float) -> np.ndarray:
    softness, farthest, times = strength
    x = _soft(x, scale * softness)
    reach = max(1, round(scale * farthest))
    for _ in range(times):
        rows, columns = np.indices(x.shape[:2]) + rng.integers(-reach, reach + 1, (2, *x.shape[:2]))
        x = x[np.clip(rows, 0, len(x) - 1), np.clip(columns, 0, x.shape[1] - 1)]
    return _soft(x, scale * softness)


def _motion_blur(x: np.ndarray, strength: tuple[int, float], rng: np.random.Generator, scale: float) -> np.ndarray:
    return _moved(x, *strength, rng.uniform(-45, 45), scale)


def _zoom_blur(x: np.ndarray, most: float, rng: np.random.Generator, scale: float) -> np.ndarray:
    return np.mean([_zoomed(x, zoom) for zoom in (1, *np.arange(1, most, 0.01))], axis=0)


def _snow(x: np.ndarray, strength: tuple[float, ...], rng: np.random.Generator, scale: float) -> np.ndarray:
    mean, sd, zoom, least, length, softness, kept = strength
    flakes = _zoomed(mean + sd * rng.standard_normal((*x.shape[:2], 1)), max(1, zoom * scale))
    flakes = np.where(flakes < least, 0, np.clip(flakes, 0, 1))
    fallen = _moved(flakes, length, softness, rng.uniform(-135, -45), scale)
    gray = x @ (0.299, 0.587, 0.114)
    white = np.maximum(x, 1.5 * gray[..., None] + 0.5)
    return kept * x + (1 - kept) * white + fallen + fallen[::-1, ::-1]


def _frost(x: np.ndarray, strength: tuple[float, float], rng: np.random.Generator, scale: float) -> np.ndarray:
    kept, share = strength
    # Bright veins, like those of ice.
    ridges = (1 - np.abs(2 * _clouds(x.shape[:2], 1.6, rng) - 1)) ** 2
    return kept * x + share * ridges[..., None] * (0.85, 0.93, 1.0)


def _fog(x: np.ndarray, strength: tuple[float, float], rng: np.random.Generator, scale: float) -> np.ndarray:
    share, decay = strength
    foggy = x + share * _clouds(x.shape[:2], decay, rng)[..., None]
    return foggy * x.max() / max(x.max() + share, 1e-9)


def _brightness(x: np.ndarray, added: float, rng: np.random.Generator, scale: float) -> np.ndarray:
    # Change the value in HSV: hue and saturation stay.
    value = x.max(axis=2, keepdims=True)
    brighter = np.clip(value + added, 0, 1)
    return np.where(value > 0, x * brighter / np.maximum(value, 1e-9), brighter)


def _contrast(x: np.ndarray, share: float, rng: np.random.Generator, scale: float) -> np.ndarray:
    mean = x.mean(axis=(0, 1))
    return mean + share * (x - mean)


def _elastic_transform(
    x: np.ndarray, strength: tuple[float, float, float], rng: np.random.Generator, scale: float
) -> np.ndarray:
    height, softness, corners = (SIDE * scale * value for value in strength)
    size = np.array(x.shape[:2])
    center, reach = size // 2, min(size) // 3
    points = center + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = points + rng.uniform(-corners, corners, points.shape)
    affine, *_ = np.linalg.lstsq(np.c_[moved, np.ones(3)], points.astype(float), rcond=None)
    grid = np.indices(x.shape[:2])
    places = np.einsum("ihw,io->ohw", np.stack([*grid, np.ones(x.shape[:2])]), affine)
    if height:
        waves = rng.uniform(-1, 1, (2, *x.shape[:2]))
        places += height * np.stack([ndimage.gaussian_filter(wave, softness, truncate=3) for wave in waves])
    return np.stack([ndimage.map_coordinates(x[..., i], places, order=1, mode="reflect") for i in range(3)], axis=2)


def _pixelate(x: np.ndarray, share: float, rng: np.random.Generator, scale: float) -> np.ndarray:
    image = _to_image(x)
    size = max(1, int(share * image.width)), max(1, int(share * image.height))
    small = image.resize(size, Image.Resampling.BOX)
    return np.asarray(small.resize(image.size, Image.Resampling.BOX)) / 255


def _jpeg_compression(x: np.ndarray, quality: int, rng: np.random.Generator, scale: float) -> np.ndarray:
    file = io.BytesIO()
    _to_image(x).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB")) / 255


def _soft(x: np.ndarray, sd: float) -> np.ndarray:
    return ndimage.gaussian_filter(x, (sd, sd, 0))


def _moved(x: np.ndarray, length: float, softness: float, angle: float, scale: float) -> np.ndarray:
    """Blur along a line of `length` pixels in the direction `angle`, in degrees. Farther pixels count less."""
    steps = np.arange(math.ceil(scale * length) + 1)
    weights = np.exp(-((steps / (scale * softness)) ** 2) / 2)
    shares = weights / weights.sum()
    radians = math.radians(angle)
    blurred = np.zeros_like(x)
    for step, share in zip(steps, shares, strict=True):
        if share > 1e-3:
            offset = (step * math.sin(radians), step * math.cos(radians), 0)
            blurred += share * ndimage.shift(x, offset, order=1, mode="nearest")
    return blurred


def _zoomed(x: np.ndarray, zoom: float) -> np.ndarray:
    """Enlarge the center of `x` to its size. ndimage also interpolates between colors, and takes four times as long."""
    for axis in (0, 1):
        last = x.shape[axis] - 1
        at = last / 2 + (np.arange(last + 1) - last / 2) / zoom
        low = np.floor(at).astype(int)
        share = (at - low).reshape(-1, *[1] * (2 - axis))
        x = (1 - share) * x.take(low, axis) + share * x.take(np.minimum(low + 1, last), axis)
    return x


def _clouds(size: tuple[int, int], decay: float, rng: np.random.Generator) -> np.ndarray:
    """Return noise from 0 to 1, float [H, W]. Each halving of the length makes it `decay` times weaker."""
    total = np.zeros(size)
    side = max(size)
    cells = 2
    while cells <= side:
        drawn = rng.uniform(-1, 1, (cells + 1, cells + 1))
        places = np.indices(size) * (cells / side)
        total += ndimage.map_coordinates(drawn, places, order=1) * decay ** -math.log2(cells)
        cells *= 2
    total -= total.min()
    return total / max(total.max(), 1e-9)


# The function and the five strengths of each corruption.
CORRUPTIONS: dict[str, tuple[Corrupt, tuple[Any, ...]]] = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.08, 0.12, 0.15, 0.18)),
    "shot_noise": (_shot_noise, (250, 100, 50, 30, 15)),
    "impulse_noise": (_impulse_noise, (0.01, 0.02, 0.05, 0.08, 0.14)),
    "defocus_blur": (_defocus_blur, ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1))),
    "glass_blur": (_glass_blur, ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2))),
    "motion_blur": (_motion_blur, ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3))),
    "zoom_blur": (_zoom_blur, (1.06, 1.11, 1.16, 1.21, 1.26)),
    "snow": (
        _snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
    ),
    "frost": (_frost, ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55))),
    "fog": (_fog, ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75))),
    "brightness": (_brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (_contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": (
        _elastic_transform,
        ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
    ),
    "pixelate": (_pixelate, (0.9, 0.8, 0.7, 0.6, 0.5)),
    "jpeg_compression": (_jpeg_compression, (65, 58, 50, 40, 25)),
}
