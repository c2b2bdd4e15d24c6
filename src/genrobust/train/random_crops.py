"""Random resized crops of images in their original size, as classifiers of photographs are trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from genrobust.classifiers import BICUBIC
from genrobust.core import hashed_seed

if TYPE_CHECKING:  # Drawing boxes must not load torch, which takes seconds.
    from torch import Tensor

# How crops are resized: part of the fingerprint of a mixture.
RESIZING = "torch, bicubic"
# Share of the image's area, and width over height: as in torchvision's RandomResizedCrop
# (Szegedy et al., 2015, "Going deeper with convolutions").
AREA = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)
TRIES = 10  # boxes drawn for each image; the first that fits is used


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """The random numbers of one crop, for an image of any size.

    Attributes:
        areas: Share of the image's area for each try, float [TRIES].
        aspects: Width over height for each try, float [TRIES].
        left, top: Position of the box within the free space, in [0, 1).
        mirror: Whether to mirror the crop.
    """

    areas: np.ndarray
    aspects: np.ndarray
    left: float
    top: float
    mirror: bool

    def cut(self, image: Image.Image, size: int, interpolation: str = BICUBIC) -> np.ndarray:
        """Cut `image`, resize and mirror: uint8 [size, size, 3]."""
        from torchvision.transforms.functional import pil_to_tensor

        inside = image.crop(self.box(*image.size))
        return self.resize(pil_to_tensor(inside), size, interpolation)

    def resize(self, pixels: Tensor, size: int, interpolation: str = BICUBIC) -> np.ndarray:
        """Resize the pixels in the box, uint8 [3, H, W], and mirror if drawn so: uint8 [size, size, 3]."""
        from torch.nn import functional as F

        # For bytes, torch is four times as fast as Pillow, with equal pixels up to rounding (PSNR 50 dB).
        resized = F.interpolate(pixels[None], (size, size), mode=interpolation, antialias=True)[0]
        # numpy does the rest: many threads run this, and torch would use several threads for each of them.
        image = resized.permute(1, 2, 0).numpy()
        return image[:, ::-1] if self.mirror else image

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the box in an image of that size: left, top, right, bottom in pixels.

        Takes the first try that fits. If none fits, takes the largest centered box with an allowed aspect.
        """
        area = self.areas * width * height
        widths = np.rint(np.sqrt(area * self.aspects))
        heights = np.rint(np.sqrt(area / self.aspects))
        fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)
        if fits.any():
            first = int(np.argmax(fits))
            w, h = int(widths[first]), int(heights[first])
            left = int(self.left * (width - w + 1))
            top = int(self.top * (height - h + 1))
        else:
            w = max(1, min(width, round(height * ASPECT[1])))
            h = max(1, min(height, round(width / ASPECT[0])))
            left = (width - w) // 2
            top = (height - h) // 2
        return left, top, left + w, top + h


def draw_crops(seed: int, step: int, count: int) -> list[RandomCrop]:
    """Draw the crops of the `count` images of batch `step`, a pure function of the arguments."""
    rng = np.random.default_rng(hashed_seed(seed, "crops", step))
    areas = rng.uniform(*AREA, (count, TRIES))
    # Aspects are uniform on a logarithmic scale: 3/4 is as likely as 4/3.
    aspects = np.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), (count, TRIES)))
    offsets = rng.random((count, 2)).tolist()
    mirrors = (rng.random(count) < 0.5).tolist()
    crops = []
    for area, aspect, (left, top), mirror in zip(areas, aspects, offsets, mirrors, strict=True):
        crops.append(RandomCrop(area, aspect, left, top, mirror))
    return crops
