"""The results of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genrobust.data import Agreement, Fidelity, FilterResult, Making


@dataclass(frozen=True, slots=True)
class NearPair:
    """Image `index` of the dataset and image `other` of another set, or of its own; `exact` copies are 0 apart."""

    index: int
    other: int
    distance: float
    exact: bool
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Copies that the dataset shares with one set of `size` images ("itself" for those inside it).

    `exact` and `near` count images of the dataset, near ones without the exact; `flagged` are their indices. `pairs`
    are the nearest found, nearest first, also where they are no copies; `median` is the median distance to the nearest
    other image.
    """

    against: str
    size: int
    exact: int
    near: int
    median: float
    pairs: tuple[NearPair, ...]
    flagged: tuple[int, ...]

    @property
    def copies(self) -> int:
        return self.exact + self.near


@dataclass(frozen=True, slots=True)
class Memorization:
    """Generated images (`n`) whose nearest neighbor among the generator's training images is nearer than `threshold`.

    `threshold` is the distance below which a share `expected` of `unseen` images, which the generator never saw, lie;
    near copies of training images are not counted among these.
    Where none are known (`unseen` is 0) it is the distance below which that share of training images have their own
    nearest neighbor, over the `unique` of those looked at that have no near copy: an approximation, since one hand's
    images are alike. `share` is a fraction with a 95 % interval (Clopper-Pearson); `above_expected` says whether it is
    above `expected`, beyond what the number of images on both sides leaves to chance.
    """

    n: int
    count: int
    share: float
    lo: float
    hi: float
    threshold: float
    expected: float
    unique: int
    above_expected: bool
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class Judgment:
    """How often the model called `judge` takes an image for its label.

    `worst` are (image, class taken for), surest mistakes first. `real` is the same share for the real images, None
    where the model was trained on them.
    """

    judge: str
    agreement: Agreement
    real: float | None
    worst: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ClipScore:
    """Mean cosine of image and text, times 100.

    `own` is over the prompts that the images were made from, or None. `classes` maps a label to the mean over its
    images of the cosine with its class (the mean of all templates), `named` is the mean over all images, and `real`
    that of the real images, or None.
    """

    own: float | None
    named: float
    real: float | None
    classes: dict[int, float]


@dataclass(frozen=True, slots=True)
class ClassDiversity:
    """Mean pairwise distance and Vendi score of `n` generated images of a class and of as many real ones (or None)."""

    label: int
    n: int
    distance: float
    vendi: float
    real_distance: float | None
    real_vendi: float | None


@dataclass(frozen=True, slots=True)
class FeatureSpace:
    """Measures over the features called `name`.

    `fidelity` compares generated with real images. `floor` is what real images would score: one half of them against
    the other; `like_floor` compares as many generated ones with that other half, since FID depends on the numbers. All
    are None without real images. `note` gives the reason for a missing value, or the limit of one.
    """

    name: str
    dimensions: int
    fidelity: Fidelity | None
    like_floor: Fidelity | None
    floor: Fidelity | None
    diversity: tuple[ClassDiversity, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that an audit measures of `n` images.

    None, or a set that a tuple lacks, has its reason in `left_out`, with the option that adds it. Pairs nearer than
    `near` are copies. `by_image` has a value an image, [N], for each judge (the probability of the label, the class
    taken for) and each set (the distance and the key of the nearest). `among` has the copies among the images of a
    recipe's sets, by set: each two sets are searched once, the smaller one in the larger.
    """

    n: int
    near: float
    by_image: dict[str, Sequence[Any]]
    per_class: dict[int, int]
    making: Making | None
    filters: tuple[FilterResult, ...]
    inside: Duplicates | None
    of_real: Duplicates | None
    of_tests: tuple[Duplicates, ...]
    of_wild: Duplicates | None
    among: dict[str, tuple[Duplicates, ...]]
    memorization: Memorization | None
    spaces: tuple[FeatureSpace, ...]
    judgments: tuple[Judgment, ...]
    clip_score: ClipScore | None
    left_out: tuple[str, ...]

    @property
    def leaks(self) -> dict[str, int]:
        """The number of images that are copies, by test set, for the test sets that have any."""
        return {duplicates.against: duplicates.copies for duplicates in self.of_tests if duplicates.copies}
