"""Corrupted copies of a study's own test images, after Hendrycks and Dietterich (2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field, StrictInt

from genrobust.core import ImageSet, UserError
from genrobust.data.corrupted_images import CorruptedImages
from genrobust.data.image_kinds import DerivedSets
from genrobust.recipe import READERS, Pixels

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
