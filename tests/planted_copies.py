"""Changes that leave an image a copy of its original, and images to plant copies of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pictures import jpeg, picture
from PIL import Image, ImageEnhance, ImageOps

from genrobust.core import ImageSet
from genrobust.leaks import thumbnail

Change = Callable[[Image.Image], Image.Image]


def resized(image: Image.Image, scale: float) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def cropped(image: Image.Image, left: float, top: float) -> Image.Image:
    """Crop to 90 %; of what is cut off, the share `left` is on the left, and `top` at the top."""
    width, height = round(0.9 * image.width), round(0.9 * image.height)
    x, y = round((image.width - width) * left), round((image.height - height) * top)
    return image.crop((x, y, x + width, y + height))


def moved(image: Image.Image, across: float, down: float) -> Image.Image:
    """Move by shares of the picture, with the edge drawn out."""
    x, y = round(across * image.width), round(down * image.height)
    pad = ((max(y, 0), max(-y, 0)), (max(x, 0), max(-x, 0)), (0, 0))
    pixels = np.pad(np.asarray(image), pad, mode="edge")
    top, left = max(-y, 0), max(-x, 0)
    return Image.fromarray(pixels[top : top + image.height, left : left + image.width])


CHANGES: dict[str, Change] = {
    "half the size": lambda image: resized(image, 0.5),
    "larger": lambda image: resized(image, 1.7),
    "squeezed": lambda image: image.resize((round(0.8 * image.width), image.height)),
    "mirrored": ImageOps.mirror,
    "JPEG": jpeg,
    "cropped to 90 %": lambda image: cropped(image, 0.5, 0.5),
    "cropped at a corner": lambda image: cropped(image, 0, 1),
    "moved by 4 of 64 px": lambda image: moved(image, 1 / 16, -1 / 16),
    "in a white border": lambda image: ImageOps.expand(image, 8, "white"),
    "in a black border": lambda image: ImageOps.expand(image, 8, "black"),
    "in a red border": lambda image: ImageOps.expand(image, 8, (200, 40, 40)),
    "brightness x1.15": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "brightness x0.87": lambda image: ImageEnhance.Brightness(image).enhance(0.87),
    "contrast x1.2": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "contrast x0.8": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "gray": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "mirrored, cropped, JPEG": lambda image: jpeg(cropped(ImageOps.mirror(image), 0.5, 0.5), 60),
}


def photographs(first: int, count: int) -> list[Image.Image]:
    return [picture(seed) for seed in range(first, first + count)]


def images_of(images: ImageSet) -> list[Image.Image]:
    return [images.image(place) for place in range(len(images))]


def thumbnails_of(images: Sequence[Image.Image]) -> np.ndarray:
    return np.stack([thumbnail(image) for image in images])
