"""The scores of a study: its baseline lines, the breakdown by class and image, and the table of all scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from genrobust.core.registry import VIEWS

# The name of an arm for a CLIP that answers zero-shot and was not trained by the study.
ZERO_SHOT = "zero-shot CLIP"
# The name of a test set for a metric's mean over `Summary.shifts`.
MEAN_OF_SHIFTS = "mean of shifts"
# The name of a test set for all images of the shifts in the mean.
ALL_SHIFTS = "all shifts"
# An interval is not shown if it is over fewer groups of images than this and wider than this many points.
MIN_GROUPS = 8
WIDEST_INTERVAL = 60.0


@dataclass(frozen=True, slots=True)
class Score:
    """The value of a metric with its 95 % interval, in the metric's unit.

    Attributes:
        lo, hi: The ends of the interval.
        n: The number of images.
        classes: The number of classes that the logits were restricted to.
        method: The kind of interval: "Clopper-Pearson 95 % over images", "bootstrap 95 % over baselines".
        extrapolated: Whether it is effective robustness at an accuracy outside the range of the baseline line.
        groups: The number of groups of the images, 0 without groups. If images are corrupted copies of pictures and
            have no other groups, each picture is a group.
        p: The two-sided p-value of a difference, not corrected for multiple comparisons.
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

    @property
    def has_interval(self) -> bool:
        """Whether the interval is narrow enough to show. Over few groups of images, it may span nearly all values."""
        is_over_few = 0 < self.groups < MIN_GROUPS
        return not is_over_few or self.hi - self.lo <= WIDEST_INTERVAL


@dataclass(frozen=True, slots=True)
class BaselineModel:
    """A standard model on one shifted set.

    Attributes:
        clean: Accuracy on the clean set, over the classes of the shifted set, in percent.
        shifted: Accuracy on the shifted set, in percent.
        architecture: The architecture, which other models may share; "" if unknown.
    """

    model: str
    test_set: str
    clean: float
    shifted: float
    architecture: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The baseline line of one shifted set: transform(shifted) = intercept + slope x transform(clean).

    Accuracies are transformed as fractions.

    Attributes:
        transform: "logit", "probit" or "linear".
        n: The number of baseline models.
        residual_sd: In transformed space, with n - 2 degrees of freedom.
        lo, hi: The lowest and the highest clean accuracy of a baseline model, in percent.
        center: The mean of the transformed clean accuracies.
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
    """The key of a score in the table of a study.

    Attributes:
        metric: The name of a metric: "top1", "er".
        arm: An arm, or a group of arms.
        seed: None for the mean over seeds.
        minus: The arm or group that is subtracted, "" for none.
    """

    metric: str
    arm: str
    test_set: str = MEAN_OF_SHIFTS
    seed: int | None = None
    minus: str = ""


@dataclass(frozen=True, slots=True)
class MissedImage:
    """An image that every classifier of a study, or one classifier, gets wrong.

    Attributes:
        index: Its number in the test set.
        label: The index of its class.
        said: The index of the class that most classifiers predict, or the one classifier.
        share: The share of classifiers that predict it, or its probability by the one classifier.
    """

    test_set: str
    index: int
    key: str
    label: int
    said: int
    share: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """Images of one class that are predicted as another.

    Attributes:
        label: The index of their class.
        said: The index of the predicted class.
        share: Their share of the class.
        images: Their mean number over seeds and arms.
    """

    label: int
    said: int
    share: float
    images: float


@dataclass(frozen=True, slots=True)
class ClassReport:
    """The predictions of an arm or a group by class, as means over its seeds and arms.

    Attributes:
        precision: By class, the share of the images predicted as it that belong to it, in percent; None without any.
        recall: By class, the share of its images that are predicted as it, its top-1 accuracy; None without any.
        confused: The pairs of classes that are confused most, by the number of images.
        matrix: The images of each class (rows) by predicted class. None if there are many classes, or after loading.
    """

    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    confused: tuple[Confusion, ...]
    matrix: tuple[tuple[float, ...], ...] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that a study measured, as one table of scores.

    Attributes:
        arms: The arms, including `trained_elsewhere`.
        reference: The arm that an arm is compared with if `references` names no other.
        shifts: The shifted test sets in the mean.
        left_out: The other shifted test sets, with the reason.
        paired: By test set, the clean set over the same classes. For a shift with some of the classes, this is a test
            set of its own: the clean set restricted to these classes.
        lines: The baseline line of each shift that has one.
        protocols: How the images of each test set were prepared and which labels count as right.
        gaps: Why a metric was not measured, by metric and test set.
        trained_elsewhere: Models that learned from other data. Their scores are the same for every seed.
        pretrained: Arms that started from weights trained on other data, directly or through the arm that they start
            from. They are not compared with arms from scratch.
        references: The arm or group that each arm and group is compared with; itself for none.
        groups: The arms of each group. A group has the mean score of its arms, each with the same weight.
        by_group: Top-1 in percent on each group of images, by test set and arm, on sets of so few groups that their
            interval says little.
        without_group: By arm and group of images, the lowest and the highest gain in top-1 over the reference if one
            group is left out, in points of the mean of shifts. Empty if no images have groups.
        missed: Some of the images that every classifier gets wrong.
        missed_counts: The number of all such images, by test set.
        class_reports: The predictions by class, by `clean` or `ALL_SHIFTS` and by arm and group. A label counts as
            predicted if any label that is right for the image is.
        class_sizes: The number of images of each class, by `clean` or `ALL_SHIFTS`.
        commonest: The share of the most frequent class among the images of each test set, in percent.
        subsets: Subsets of test sets with scores of their own (see `Comparison`): the number of images by test set in
            their mean.
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
        """The test set that arms are ranked by: the mean of the shifts, the only shift, or the clean set if none."""
        if len(self.shifts) > 1:
            return MEAN_OF_SHIFTS
        return self.shifts[0] if self.shifts else self.clean

    def reference_of(self, arm: str) -> str:
        """Return the arm that `arm` is compared with; `arm` itself for none."""
        return self.references.get(arm, self.reference)

    def find(
        self, metric: str, arm: str, test_set: str = MEAN_OF_SHIFTS, seed: int | None = None, minus: str = ""
    ) -> Score | None:
        """Look up a score, by default the mean over shifts and seeds. None if it was not measured."""
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
        """Return one row per score, as for `pandas.DataFrame`: the fields of its `ScoreKey` and of the score."""
        return [{**key._asdict(), **asdict(score)} for key, score in self.scores.items()]

    def difference(self, metric: str, arm: str, other: str, test_set: str = MEAN_OF_SHIFTS) -> Score | None:
        """Look up `arm` minus `other`, or turn the sign of the reverse difference. None if neither was measured."""
        score = self.find(metric, arm, test_set, minus=other)
        if score is not None:
            return score
        reverse = self.find(metric, other, test_set, minus=arm)
        if reverse is None:
            return None
        return replace(reverse, value=-reverse.value, lo=-reverse.hi, hi=-reverse.lo)


def group_reference(group: str, groups: Mapping[str, Sequence[str]], references: Mapping[str, str]) -> str:
    """Return the arm or group that the arms of `group` are compared with; `group` itself for none.

    It is another group only if each of that group's arms is subtracted equally often. Then it is the difference
    of both means.
    """
    subtracted = Counter(references[arm] for arm in groups[group])
    if subtracted.keys() & set(groups[group]):
        return group
    if len(subtracted) == 1:
        return next(iter(subtracted))
    if len(set(subtracted.values())) > 1:
        return group
    for name, members in groups.items():
        if subtracted.keys() == set(members):
            return name
    return group
