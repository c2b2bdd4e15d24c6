"""What is predicted and scored: every figure is a pure function of `Predictions`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

ZERO_SHOT = "zero-shot CLIP"  # stands for an arm's name where a CLIP answers that the study did not train
MEAN_OF_SHIFTS = "mean of shifts"  # stands for a test set's name where a figure is the mean over `Summary.shifts`


@dataclass(frozen=True, slots=True)
class Predictions:
    """The logits of one checkpoint on one test set: every metric is a pure function of these.

    `logits` float32 [N, K] over `classes` (K ids), `labels` int64 [N], `keys` N names. `accepted` is None, or for each
    image the tuple of labels that count as right (one-to-many maps such as ObjectNet's). `protocol` says how the images
    were prepared ("64 px: shorter side resized ..."), so that accuracies are compared with their like.
    """

    test_set: str
    logits: np.ndarray
    labels: np.ndarray
    keys: tuple[str, ...]
    classes: tuple[str, ...]
    protocol: str
    accepted: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A figure in percent (or points) with its interval, over `n` images and `classes` classes.

    `method` names the interval: "Clopper-Pearson 95 %", "bootstrap 95 % over baselines" and so on.
    """

    value: float
    lo: float
    hi: float
    n: int
    classes: int
    method: str


@dataclass(frozen=True, slots=True)
class BaselineModel:
    """A standard model on one shifted set: its clean and shifted accuracy in percent, over the same classes."""

    model: str
    test_set: str
    clean: float
    shifted: float


@dataclass(frozen=True, slots=True)
class Line:
    """The baseline line of one shifted set: transform(shifted) = intercept + slope x transform(clean).

    Accuracies enter as fractions; `residual_sd` is in transformed space with n - 2 degrees of freedom; `lo` and `hi`
    bound the clean accuracies, in percent, that the fit has seen, and `centre` is the mean of these, transformed.
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
    centre: float


@dataclass(frozen=True, slots=True)
class Plane:
    """The baseline fit over D ID sets: transform(shifted) = intercept + the sum of slope x transform(ID accuracy).

    `slopes`, and the percents `lo` and `hi` that bound the accuracies which the fit has seen, are in the order of
    `id_sets`; `residual_sd` has n - D - 1 degrees of freedom. All else is as in `Line`.
    """

    test_set: str
    id_sets: tuple[str, ...]
    transform: str
    slopes: tuple[float, ...]
    intercept: float
    r2: float
    n: int
    residual_sd: float
    lo: tuple[float, ...]
    hi: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm, one seed, one test set.

    `top1` is over the set's own classes, logits restricted to them; `top1_all` over every class; `clean` is the clean
    test set's top-1 restricted to the same classes; `er` the effective robustness in points, None without a line.
    """

    arm: str
    seed: int
    test_set: str
    top1: Score
    top1_all: Score
    clean: Score
    er: Score | None
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """`arm` minus `reference` in points on `test_set` (or MEAN_OF_SHIFTS); `figure` is "top1" or "er"."""

    arm: str
    reference: str
    test_set: str
    figure: str
    score: Score


@dataclass(frozen=True, slots=True)
class Group:
    """The mean over `arms`, which are one mixture with several architectures; each of them counts the same.

    `top1` and `er` map a test set (or MEAN_OF_SHIFTS) to the mean, in percent and points; `top1_gain` and `er_gain` to
    the mean of each arm's difference from its own reference, in points. `reference` names what is subtracted there: a
    group, or an arm. It is empty, and so are the gains, where that has no one name or an arm of the group is in it.
    """

    name: str
    arms: tuple[str, ...]
    reference: str
    top1: dict[str, Score]
    er: dict[str, Score]
    top1_gain: dict[str, Score]
    er_gain: dict[str, Score]


@dataclass(frozen=True, slots=True)
class MultiID:
    """Effective robustness beyond what the accuracies on the clean set and on the test set `second` predict together.

    `planes` are by shift; `arm_er` maps (arm, shift) and `mean_er` an arm to its mean over seeds, in points, as in
    `Summary`. `beyond` names the (arm, shift) of which an ID accuracy lies outside those the plane was fitted on.
    """

    second: str
    planes: dict[str, Plane]
    arm_er: dict[tuple[str, str], Score]
    mean_er: dict[str, Score]
    beyond: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that a study measured. `shifts` are those in the mean; `left_out` maps the others to a reason.

    `mean_top1`, `mean_er` map an arm to its mean over shifts and seeds; `arm_top1` and `arm_er` map (arm, test set) to
    the mean over seeds. `protocols` says of each test set how its images were prepared and what counts as right.
    `trained_elsewhere` names those of `arms` that are none: models that learned from other data, for comparison, whose
    answers are the same for every seed. `references` says what each arm is compared with, itself where with none;
    `groups` are the means over several arms. `multi_id` is there where the study names a second in-distribution set.
    """

    arms: tuple[str, ...]
    reference: str
    seeds: tuple[int, ...]
    clean: str
    shifts: tuple[str, ...]
    left_out: dict[str, str]
    cells: tuple[Cell, ...]
    lines: dict[str, Line]
    arm_top1: dict[tuple[str, str], Score]
    arm_er: dict[tuple[str, str], Score]
    mean_top1: dict[str, Score]
    mean_er: dict[str, Score]
    differences: tuple[Difference, ...]
    protocols: dict[str, str]
    trained_elsewhere: tuple[str, ...] = ()
    multi_id: MultiID | None = None
    references: dict[str, str] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()

    def reference_of(self, arm: str) -> str:
        """The arm that `arm` is compared with; `arm` itself where with none."""
        return self.references.get(arm, self.reference)
