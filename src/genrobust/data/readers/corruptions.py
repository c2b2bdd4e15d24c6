"""Corrupted copies of a study's own test images, after Hendrycks and Dietterich (2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, get_args

import numpy as np
from PIL import Image
from pydantic import Field, StrictInt

from genrobust.core import ImageSet, Subset, UserError, digest, hashed_seed
from genrobust.data.reader import DerivedSets
from genrobust.recipe import READERS, Pixels

VERSION = 1  # of the corruptions: another makes other images
Corruption = Literal[
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
]  # fmt: skip
NAMES: tuple[str, ...] = get_args(Corruption)
FAMILIES = {"noise": NAMES[:3], "blur": NAMES[3:7], "weather": NAMES[7:11], "digital": NAMES[11:]}
Severity = Annotated[StrictInt, Field(ge=1, le=5)]


@READERS.register("corruptions")
class Corruptions(DerivedSets):
    """Makes corrupted copies of a test set, `of`, in memory: the 15 corruptions of Hendrycks and Dietterich (2019).

    Each image is corrupted in each way of `which`, at each of `severities`. Each family, `noise`, `blur`, `weather` and
    `digital`, is a test set, such as `NAME-noise`. Its accuracy is the mean over these, its interval over the images
    that were corrupted, or over their groups.

    Strengths are those of Tiny-ImageNet-C and grow with the size of the image: accuracies do not compare with published
    ones, for which there is `kind: imagenet-c`. Give `side` where classifiers see smaller images than yours: images are
    first resized to as many pixels on the shorter side, since shrinking removes noise.

    Corruptions are left out of the mean of shifts, unless the study has no other shift.
    """

    of: str | None = None  # a test set; the unshifted one if None
    which: tuple[Corruption, ...] = ()  # all if empty
    severities: Annotated[tuple[Severity, ...], Field(min_length=1)] = (1, 2, 3, 4, 5)
    side: Pixels | None = None

    def make(self, name: str, tests: Mapping[str, ImageSet], clean: str) -> Mapping[str, ImageSet]:
        """Return the corrupted sets by name, in the order of the paper."""
        if (of := self.of or clean) not in tests:
            raise UserError(f"data.shifts.{name}.of: no test set {of!r}; there are {', '.join(tests)}")
        chosen = self.which or NAMES
        made = {f"{name}-{part}": [each for each in names if each in chosen] for part, names in FAMILIES.items()}
        severities = sorted(set(self.severities))
        return {
            full_name: CorruptedImages(full_name, tests[of], names, severities, self.side)
            for full_name, names in made.items()
            if names
        }


class CorruptedImages(Subset):
    """The images of another set under each corruption at each severity: an ImageSet."""

    def __init__(
        self, name: str, images: ImageSet, names: Sequence[str], severities: Sequence[int], side: int | None = None
    ) -> None:
        self._ways = [(corruption, severity) for corruption in names for severity in severities]
        self._originals, self._side = images, side
        super().__init__(images, np.tile(np.arange(len(images)), len(self._ways)), name)
        self._seeded = self.pictures = self.keys
        ways = [f"{corruption}-{severity}" for corruption, severity in self._ways for _ in range(len(images))]
        self.keys = [f"{way}/{key}" for way, key in zip(ways, self.keys, strict=True)]
        self.styles = [corruption for corruption, _ in self._ways for _ in range(len(images))]
        words = f"{', '.join(names)} at severity {', '.join(map(str, severities))}"
        resized = "" if side is None else f" after resizing the shorter side to {side} px"
        self.protocol = "; ".join(filter(None, [self.protocol, f"corrupted by {words}{resized}"]))
        self.as_stored = self.packaged = False
        self.fingerprint = digest([images.fingerprint, self._ways, side, VERSION])

    def image(self, index: int) -> Image.Image:
        from genrobust.data.corrupting import corrupt  # with SciPy, which listing them needs not

        image = super().image(index)
        if self._side is not None:
            factor = self._side / min(image.size)
            size = max(1, round(factor * image.width)), max(1, round(factor * image.height))
            image = image.resize(size, Image.Resampling.BICUBIC)
        corruption, severity = self._ways[index // len(self._originals)]
        return corrupt(image, corruption, severity, hashed_seed("corruption", corruption, self._seeded[index]))

    def reduced(self, index: int, side: int) -> Image.Image:
        return self.image(index)

    def encoded(self, index: int) -> None:
        return None

    def known_contents(self) -> None:
        return None
