"""Predictions and what is measured of them: every metric is a pure function of `Predictions`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from genrobust.core.registry import VIEWS

ZERO_SHOT = "zero-shot CLIP"  # stands for an arm's name where a CLIP answers that the study did not train
MEAN_OF_SHIFTS = "mean of shifts"  # stands for a test set's name where a metric is the mean over `Summary.shifts`

ALL_SHIFTS = "all shifts"  # stands for a test set's name where all images of the shifts in the mean are pooled


@dataclass(frozen=True, slots=True)
class Predictions:
    """The logits of one classifier on one test set: every metric is a pure function of these.

    Attributes:
        logits: float [N, K], or log-probabilities.
        labels: int [N], indices of classes.
        keys: The names of the N images, by which predictions of the same images are known; their numbers by default.
        classes: The ids of the K classes; their numbers by default.
        protocol: How the images were prepared ("64 px: shorter side resized ..."), so that only comparable accuracies
            are compared.
        accepted: None, or for each image the labels that count as right (one-to-many maps such as ObjectNet's).

    Raises:
        ValueError: Labels are no whole numbers, or have more than one dimension; logits are no real numbers.
    """

    test_set: str
    logits: np.ndarray
    labels: np.ndarray
    keys: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    protocol: str = ""
    accepted: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        logits = np.asanyarray(self.logits)
        if logits.dtype.kind in "iu" or logits.dtype == np.float16:  # whose sums would be rounded to three digits
            logits = logits.astype(np.float32)
        if logits.dtype.kind != "f":
            raise ValueError(f"logits: give a number for each image and class, not {logits.dtype} {logits.shape}")
        n, k = (*logits.shape, 0, 0)[:2]
        labels = np.asarray(self.labels)
        if labels.ndim != 1 or (labels.size and not np.issubdtype(labels.dtype, np.integer)):
            raise ValueError(f"labels: give the number of a class for each image, not {labels.dtype} {labels.shape}")
        object.__setattr__(self, "logits", logits)
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))
        object.__setattr__(self, "keys", tuple(self.keys) or tuple(map(str, range(n))))
        object.__setattr__(self, "classes", self.classes or tuple(map(str, range(k))))


@dataclass(frozen=True, slots=True)
class Score:
    """The value of a metric, in the metric's unit, with its interval from `lo` to `hi`, over `n` images.

    `classes` counts the classes that the logits were restricted to. `method` names the interval: "Clopper-Pearson
    95 %", "bootstrap 95 % over baselines" and so on. `extrapolated` marks effective robustness at an accuracy outside
    those that the baseline line was fitted on. `groups` counts the groups of the images, 0 where they have none; those
    of corrupted copies are of one image each, where it has no other. `p` is the two-sided p-value of a difference, not
    corrected for multiple comparisons.
    """

    value: float
    lo: float
    hi: float
    n: int
    classes: int
    method: str
    extrapolated: bool = False
    groups: int = 0
    p: float | None = None


@dataclass(frozen=True, slots=True)
class BaselineModel:
    """A standard model on one shifted set: its clean and shifted accuracy in percent, over the same classes.

    `architecture` is what it has in common with other models, "" where that is not known.
    """

    model: str
    test_set: str
    clean: float
    shifted: float
    architecture: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The baseline line of one shifted set: transform(shifted) = intercept + slope x transform(clean).

    Accuracies enter as fractions; `residual_sd` is in transformed space with n - 2 degrees of freedom; `lo` and `hi`
    bound the clean accuracies, in percent, that the fit has seen, and `center` is the mean of these, transformed.
    """

    test_set: str
    transform: str
    slope: float
    intercept: float
    r2: float
    n: int
    residual_sd: float
    lo: float
    hi: float
    center: float


class ScoreKey(NamedTuple):
    """The place of a score in the table of a study.

    `metric` names a metric ("top1", "er" ...), `arm` an arm or a group of arms. `seed` is None for the mean over seeds.
    `minus` names the arm or group that is subtracted, "" where nothing is.
    """

    metric: str
    arm: str
    test_set: str = MEAN_OF_SHIFTS
    seed: int | None = None
    minus: str = ""


@dataclass(frozen=True, slots=True)
class MissedImage:
    """An image of `test_set`, at `index`, that every classifier of a study gets wrong.

    `label` and `said` are indices of classes: its own, and the one that most classifiers give, a `share` of them.
    """

    test_set: str
    index: int
    key: str
    label: int
    said: int
    share: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """Images of the class `label` that are taken for `said`: their mean number, and the `share` of the class."""

    label: int
    said: int
    share: float
    images: float


@dataclass(frozen=True, slots=True)
class ClassReport:
    """The answers of an arm or a group by class, means over its seeds and arms.

    Attributes:
        precision: By class, the share of the images predicted as it that are of it, in percent; None without any.
        recall: By class, the share of its images that are predicted as it, its top-1 accuracy; None without any.
        confused: The pairs of classes that are confused most, by the number of images.
        matrix: The images of each class (rows) by predicted class; None of many classes, and where it was not kept.
    """

    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    confused: tuple[Confusion, ...]
    matrix: tuple[tuple[float, ...], ...] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that a study measured, as one table of scores.

    Attributes:
        arms: The arms, `trained_elsewhere` among them.
        shifts: The shifted test sets in the mean; `left_out` maps the others to the reason.
        scores: The table. A shifted set over part of the classes is paired with the clean set restricted to the same
            classes, which is a test set with a name of its own: `paired` maps each shift to it (or to `clean`).
        lines: The baseline line of each shift that has one.
        protocols: How the images of each test set were prepared and which labels count as right.
        gaps: Why a metric was not measured, by metric and test set.
        trained_elsewhere: Models that learned from other data, whose answers are the same for every seed.
        pretrained: Arms that started from weights trained on other data, themselves or by the arm that they start
            from: no fair comparison with the others.
        references: What each arm and group is compared with; itself for nothing.
        groups: The arms of each group. A group has the mean score of its arms, each with the same weight.
        by_group: Top-1 in percent of each group of images, by test set and arm, on sets of so few groups that their
            interval says little.
        without_group: The lowest and the highest gain in top-1 of each arm over its reference, in points of the mean
            of shifts, that leaving out one group of images gives; by arm and group. Nothing where none has a group.
        missed: Some of the images that every classifier gets wrong; `missed_counts` counts them all, by test set.
        class_reports: Precision, recall and confused classes, by `clean` or `ALL_SHIFTS` and by arm and group. A label
            counts as predicted where any label that is right for the image is. `class_sizes` counts the images of each
            class there.
        commonest: The share of the commonest class among the images of each test set, in percent.
        subsets: Parts of test sets with scores under names of their own, see `Comparison`: the number of images by
            test set, of those that their mean is over.
    """

    arms: tuple[str, ...]
    reference: str
    seeds: tuple[int, ...]
    clean: str
    shifts: tuple[str, ...]
    left_out: dict[str, str]
    scores: dict[ScoreKey, Score]
    paired: dict[str, str]
    lines: dict[str, Line]
    protocols: dict[str, str]
    gaps: dict[str, dict[str, str]] = field(default_factory=dict)
    trained_elsewhere: tuple[str, ...] = ()
    pretrained: tuple[str, ...] = ()
    references: dict[str, str] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    by_group: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=dict)
    without_group: dict[str, dict[str, float]] = field(default_factory=dict)
    missed: tuple[MissedImage, ...] = ()
    missed_counts: dict[str, int] = field(default_factory=dict)
    class_reports: dict[str, dict[str, ClassReport]] = field(default_factory=dict)
    class_sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    commonest: dict[str, float] = field(default_factory=dict)
    subsets: dict[str, dict[str, int]] = field(default_factory=dict)

    def __repr__(self) -> str:
        arms, seeds, tests, scores = map(len, (self.arms, self.seeds, self.tests, self.scores))
        return f"Summary({arms=}, {seeds=}, {tests=}, {scores=})"

    def _repr_html_(self) -> str:
        return str(VIEWS.get("summary")(self))

    @property
    def tests(self) -> tuple[str, ...]:
        """The test sets, the clean one first."""
        return (self.clean, *self.shifts, *self.left_out)

    @property
    def leading(self) -> str:
        """What arms are ranked by: the mean of the shifts, or the clean set where there are none."""
        return MEAN_OF_SHIFTS if self.shifts else self.clean

    def reference_of(self, arm: str) -> str:
        """The arm that `arm` is compared with; `arm` itself for none."""
        return self.references.get(arm, self.reference)

    def find(
        self, metric: str, arm: str, test_set: str = MEAN_OF_SHIFTS, seed: int | None = None, minus: str = ""
    ) -> Score | None:
        """Look up a score, by default the mean over shifts and seeds; None for one that was not measured."""
        return self.scores.get(ScoreKey(metric, arm, test_set, seed, minus))

    def score(
        self, metric: str, arm: str, test_set: str = MEAN_OF_SHIFTS, seed: int | None = None, minus: str = ""
    ) -> Score:
        """Look up a score, by default the mean over shifts and seeds.

        Raises:
            KeyError: It was not measured.
        """
        return self.scores[ScoreKey(metric, arm, test_set, seed, minus)]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a score, as `pandas.DataFrame` takes them: where it is (as in `ScoreKey`), and the score."""
        return [{**key._asdict(), **asdict(score)} for key, score in self.scores.items()]

    def difference(self, metric: str, arm: str, other: str, test_set: str = MEAN_OF_SHIFTS) -> Score | None:
        """Look up `arm` minus `other`, or turn the sign of the reverse; None for what was not measured."""
        if (score := self.find(metric, arm, test_set, minus=other)) is not None:
            return score
        turned = self.find(metric, other, test_set, minus=arm)
        return turned and replace(turned, value=-turned.value, lo=-turned.hi, hi=-turned.lo)


def group_reference(group: str, groups: Mapping[str, Sequence[str]], references: Mapping[str, str]) -> str:
    """Return what the arms of `group` are compared with: an arm outside it, or a group; itself where that has no name.

    It is another group only where each of that group's arms is subtracted equally often: then the difference is that
    of both means.
    """
    theirs = Counter(references[arm] for arm in groups[group])
    if theirs.keys() & set(groups[group]):
        return group
    if len(theirs) == 1:
        return next(iter(theirs))
    if len(set(theirs.values())) > 1:
        return group
    return next((name for name, members in groups.items() if theirs.keys() == set(members)), group)
