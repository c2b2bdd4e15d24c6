"""The results of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genrobust.core import SourceQuality
from genrobust.data import Agreement, Making


@dataclass(frozen=True, slots=True)
class NearPair:
    """Image `index` of the dataset and its nearest, image `other` of another set or of its own."""

    index: int
    other: int
    distance: float
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Copies that the dataset shares with the set `against`, of `size` images: its own, or another.

    `exact` and `near` count images of the dataset: those without a difference, and those with a small one. `pairs` are
    the nearest found, nearest first, also where they are no copies; `median` is the median distance to the nearest
    other image. Copies of a test set are leaks (`is_test`).
    """

    against: str
    is_test: bool
    size: int
    exact: int
    near: int
    median: float
    pairs: tuple[NearPair, ...]

    @property
    def copies(self) -> int:
        return self.exact + self.near


@dataclass(frozen=True, slots=True)
class Memorization:
    """Generated images (`n`) whose nearest neighbor among the generator's training images is nearer than `threshold`.

    `threshold` is the distance below which a share `expected` of `unseen` images, which the generator never saw, lie;
    near copies of training images are not counted among these. `share` is a fraction with a 95 % interval
    (Clopper-Pearson); `above_expected` says whether it is above `expected`, beyond what the number of images on both
    sides leaves to chance.
    """

    n: int
    count: int
    share: float
    lo: float
    hi: float
    threshold: float
    expected: float
    unseen: int
    above_expected: bool


@dataclass(frozen=True, slots=True)
class Judgment:
    """How often the model called `judge` takes an image for its label.

    `worst` are (image, class taken for), surest mistakes first.
    """

    judge: str
    agreement: Agreement
    worst: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ClassDiversity:
    """The Vendi score of `n` images of a class, and of as many real ones (or None)."""

    label: int
    n: int
    vendi: float
    real_vendi: float | None


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that an audit measures of `n` images.

    None, or what a tuple lacks, has its reason in `left_out`, with the option that adds it. Pairs nearer than `near`
    are copies. `by_image` has a value an image, [N], for each judge (the probability of the label, the class taken for)
    and each set (the distance and the key of the nearest). `qualities` are those of the dataset and of the real images;
    `yardstick` compares as many of the dataset, and one half of the real images, with the other half, since FID depends
    on the numbers.
    """

    n: int
    near: float
    by_image: dict[str, Sequence[Any]]
    per_class: dict[int, int]
    making: Making | None
    copies: tuple[Duplicates, ...]
    memorization: Memorization | None
    judgments: tuple[Judgment, ...]
    qualities: tuple[SourceQuality, ...]
    yardstick: tuple[SourceQuality, ...]
    diversity: tuple[ClassDiversity, ...]
    left_out: tuple[str, ...]

    @property
    def of_tests(self) -> list[Duplicates]:
        return [found for found in self.copies if found.is_test]

    @property
    def leaks(self) -> dict[str, int]:
        """The number of images that are copies, by test set, for the test sets that have any."""
        return {found.against: found.copies for found in self.of_tests if found.copies}
