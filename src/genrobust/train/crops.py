"""Random resized crops of images in their own size, as classifiers of photographs are trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from genrobust.classifiers import BICUBIC
from genrobust.core import hashed_seed

if TYPE_CHECKING:  # torch takes seconds, and where crops lie is known without it
    from torch import Tensor

RESIZING = "torch, bicubic"  # what the pixels depend on beside the boxes
AREA = (0.08, 1.0)  # of the image; this and the aspect are those of torchvision's RandomResizedCrop (Szegedy et al.,
ASPECT = (3 / 4, 4 / 3)  # 2015, "Going deeper with convolutions")
TRIES = 10  # boxes that are drawn until one fits into the image


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """The random draws for one image, of any size.

    `areas` and `aspects`, float [TRIES], are the boxes' share of the image's area and their width over height; `left`
    and `top`, in [0, 1), are where the box lies in the space that it leaves.
    """

    areas: np.ndarray
    aspects: np.ndarray
    left: float
    top: float
    mirror: bool

    def of(self, image: Image.Image, size: int, interpolation: str = BICUBIC) -> np.ndarray:
        """Return the crop of `image`, resized and perhaps mirrored: uint8 [size, size, 3]."""
        from torchvision.transforms.functional import pil_to_tensor

        return self.finish(pil_to_tensor(image.crop(self.box(*image.size))), size, interpolation)

    def finish(self, pixels: Tensor, size: int, interpolation: str = BICUBIC) -> np.ndarray:
        """Resize the pixels in the box, uint8 [3, H, W], and perhaps mirror them: uint8 [size, size, 3]."""
        from torch.nn import functional as F

        # For bytes torch is four times as fast as Pillow, with the same pixels but for rounding (a PSNR of 50 dB).
        # Many threads come here at once, so numpy does the rest: torch would use several threads for each of them.
        resized = F.interpolate(pixels[None], (size, size), mode=interpolation, antialias=True)[0]
        return resized.permute(1, 2, 0).numpy()[:, :: -1 if self.mirror else 1]

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the first box that fits into an image of that size: left, top, right and bottom, in pixels.

        Where none fits, it is the largest at the center whose aspect is allowed.
        """
        area = self.areas * width * height
        w, h = np.rint(np.sqrt(area * self.aspects)), np.rint(np.sqrt(area / self.aspects))
        fits = np.flatnonzero((w >= 1) & (w <= width) & (h >= 1) & (h <= height))
        if len(fits):
            w, h = int(w[fits[0]]), int(h[fits[0]])
            left, top = int(self.left * (width - w + 1)), int(self.top * (height - h + 1))
        else:
            w = max(1, min(width, round(height * ASPECT[1])))
            h = max(1, min(height, round(width / ASPECT[0])))
            left, top = (width - w) // 2, (height - h) // 2
        return left, top, left + w, top + h


def draw_crops(seed: int, step: int, count: int) -> list[RandomCrop]:
    """Return the crops of the `count` images of batch `step`, a pure function of the arguments."""
    rng = np.random.default_rng(hashed_seed(seed, "crops", step))
    areas = rng.uniform(*AREA, (count, TRIES))
    aspects = np.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), (count, TRIES)))
    offsets, mirrors = rng.random((count, 2)), rng.random(count) < 0.5
    return [
        RandomCrop(area, aspect, float(left), float(top), bool(mirror))
        for area, aspect, (left, top), mirror in zip(areas, aspects, offsets, mirrors, strict=True)
    ]
