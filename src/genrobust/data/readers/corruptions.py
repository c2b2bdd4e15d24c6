"""Corrupted copies of a study's own test images, after Hendrycks and Dietterich (2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, get_args

import numpy as np
from PIL import Image
from pydantic import Field, StrictInt

from genrobust.core import ImageSet, Subset, UserError, digest, hashed_seed
from genrobust.data.image_kinds import DerivedSets
from genrobust.recipe import READERS, Pixels

# Part of the fingerprint. Raise it if the corruptions make other images.
VERSION = 1
Corruption = Literal[
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
]  # fmt: skip
NAMES: tuple[str, ...] = get_args(Corruption)
FAMILIES = {"noise": NAMES[:3], "blur": NAMES[3:7], "weather": NAMES[7:11], "digital": NAMES[11:]}
Severity = Annotated[StrictInt, Field(ge=1, le=5)]


@READERS.register("corruptions")
class Corruptions(DerivedSets):
    """Corrupted copies of a test set, `of`, made in memory: the 15 corruptions of Hendrycks and Dietterich (2019).

    Each image is corrupted in each way of `which`, at each of `severities`. Each family, `noise`, `blur`, `weather` and
    `digital`, is a test set, such as `NAME-noise`. Its accuracy is the mean over all copies. Its interval is over the
    original images, or over their groups.

    Strengths are those of Tiny-ImageNet-C and grow with the size of the image, so accuracies do not compare with
    published ones. `kind: imagenet-c` reads the published images. Give `side` if classifiers see smaller images than
    yours: shrinking removes noise, so images are first resized to `side` pixels on the shorter side.

    Corruptions do not count in the mean of shifts, unless the study has no other shift.
    """

    of: str | None = None  # a test set; the unshifted one if None
    which: tuple[Corruption, ...] = ()  # all if empty
    severities: Annotated[tuple[Severity, ...], Field(min_length=1)] = (1, 2, 3, 4, 5)
    side: Pixels | None = None

    def make(self, name: str, tests: Mapping[str, ImageSet], clean: str) -> Mapping[str, ImageSet]:
        """Return the corrupted sets by name, in the order of the paper."""
        original = self.of or clean
        if original not in tests:
            raise UserError(f"data.shifts.{name}.of: no test set {original!r}; there are {', '.join(tests)}")
        chosen = self.which or NAMES
        severities = sorted(set(self.severities))
        made: dict[str, ImageSet] = {}
        for family, members in FAMILIES.items():
            corruptions = [corruption for corruption in members if corruption in chosen]
            if corruptions:
                full_name = f"{name}-{family}"
                made[full_name] = CorruptedImages(full_name, tests[original], corruptions, severities, self.side)
        return made


class CorruptedImages(Subset):
    """The images of another set under each corruption at each severity."""

    def __init__(
        self,
        name: str,
        images: ImageSet,
        corruptions: Sequence[str],
        severities: Sequence[int],
        side: int | None = None,
    ) -> None:
        self._ways = [(corruption, severity) for corruption in corruptions for severity in severities]
        self._originals = images
        self._side = side
        super().__init__(images, np.tile(np.arange(len(images)), len(self._ways)), name)
        self.pictures = self._original_keys = self.keys
        self.styles = [corruption for corruption, _ in self._ways for _ in range(len(images))]
        ways = [f"{corruption}-{severity}" for corruption, severity in self._ways for _ in range(len(images))]
        self.keys = [f"{way}/{key}" for way, key in zip(ways, self._original_keys, strict=True)]
        protocol = f"corrupted by {', '.join(corruptions)} at severity {', '.join(map(str, severities))}"
        if side is not None:
            protocol += f" after resizing the shorter side to {side} px"
        self.protocol = f"{self.protocol}; {protocol}" if self.protocol else protocol
        self.as_stored = self.packaged = False
        self.fingerprint = digest([images.fingerprint, self._ways, side, VERSION])

    def image(self, index: int) -> Image.Image:
        # Import late: it loads SciPy, which listing the images does not need.
        from genrobust.data.corrupting import corrupt

        image = super().image(index)
        if self._side is not None:
            factor = self._side / min(image.size)
            size = max(1, round(factor * image.width)), max(1, round(factor * image.height))
            image = image.resize(size, Image.Resampling.BICUBIC)
        corruption, severity = self._ways[index // len(self._originals)]
        return corrupt(image, corruption, severity, hashed_seed("corruption", corruption, self._original_keys[index]))

    def reduced(self, index: int, side: int) -> Image.Image:
        return self.image(index)

    def encoded(self, index: int) -> None:
        return None

    def known_contents(self) -> None:
        return None
