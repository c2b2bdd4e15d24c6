"""Existing classifiers on a generated set and on a real one: accuracy on both, the drop, and the hardest images.

A drop over all images is one of style, too, where a set has styles that the other lacks or has less of. So drops are
measured within the styles of both sets as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np
from scipy.special import log_softmax

from genrobust.core import Predictions, Score
from genrobust.robustness import (
    ANY,
    Groups,
    Measured,
    freedom_of_sum,
    mean_of,
    measure_accuracy,
    read_answers,
    seed_weights,
    spread,
)

HARDEST = 48  # images kept to be looked at
BOTH = "images of both sets"
WITHIN, ALL, STYLE = "within", "all", "style"

# By name, one or more checkpoints of a model, such as seeds of an arm: predictions on the generated and the real set.
ModelPredictions = Mapping[str, Sequence[tuple[Predictions, Predictions]]]
Checkpoints = tuple[slice, np.ndarray]  # of one model: their place among all, and their weights in each replicate


@dataclass(frozen=True, slots=True)
class Scores:
    """What one model scored on the images of a part, as the mean over its checkpoints.

    `generated` and `real` are accuracies in percent, None for a set without such images; `drop` is real minus
    generated, in points, and `beyond` the drop minus that of the first model, None for that one.
    """

    generated: Score | None
    real: Score | None
    drop: Score | None
    beyond: Score | None


@dataclass(frozen=True, slots=True)
class Part:
    """The scores of each model on some of the images, over the same classes of both sets.

    `scope` is WITHIN (the mean over the styles of both sets, each with the same weight), ALL images, or STYLE: those of
    one `style`. The real images are of so many `groups`, 0 where these are unknown or one.
    """

    scope: str
    style: str
    groups: int
    scores: tuple[Scores, ...]


@dataclass(frozen=True, slots=True)
class HardImage:
    """A generated image that most models get wrong: `wrong` is the share of them, each weighing the same.

    `taken_for` are the wrong labels with how many checkpoints gave them, the commonest first.
    """

    index: int
    key: str
    label: int
    wrong: float
    taken_for: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Everything measured, over K classes.

    `models` are the numbers of checkpoints by name. `parts` begin with what counts most: within styles, where the sets
    share some, then over all images, then by style. `by_class` are the accuracies in percent of each model on both sets
    by label, `sizes` the numbers of images likewise, `styles` those by style, "" where it is unknown.
    """

    models: dict[str, int]
    parts: tuple[Part, ...]
    by_class: tuple[tuple[tuple[float, float], ...], ...]
    sizes: tuple[tuple[int, int], ...]
    styles: dict[str, tuple[int, int]]
    hardest: tuple[HardImage, ...]

    @property
    def shared(self) -> list[str]:
        """The styles of both sets."""
        return [style for style, sizes in self.styles.items() if style and all(sizes)]


@dataclass(frozen=True, slots=True)
class _Side:
    """The answers of all checkpoints, T, on one set of N images of these `keys` and `labels`, int64 [N].

    `said` int64 [T, N] are the labels that they gave, `right` bool [T, N] which are right, and `doubt` float [T, N]
    minus the log probability that they gave to the label. `styles` str [N] are "" where unknown. Intervals are over
    `bootstrap` replicates.
    """

    keys: tuple[str, ...]
    labels: np.ndarray
    said: np.ndarray
    right: np.ndarray
    doubt: np.ndarray
    styles: np.ndarray
    groups: Sequence[str] | None
    bootstrap: int
    classes: int

    def accuracy(self, rng: np.random.Generator, members: np.ndarray | None = None) -> Measured:
        """Return the accuracies on the images that `members`, bool [N], selects, or on all."""
        members = np.ones(len(self.labels), dtype=bool) if members is None else members
        right = self.right[:, members]
        return measure_accuracy(right[None], self.classes, self.bootstrap, rng, Groups.of(self.groups, members))

    def by_style(self, whole: Measured, rng: np.random.Generator) -> dict[str, Measured]:
        """Return the accuracies on the images of each style: `whole`, those of all, where all are of one."""
        members = {style: self.styles == style for style in sorted(set(self.styles.tolist()) - {""})}
        return {style: whole if of.all() else self.accuracy(rng, of) for style, of in members.items()}

    def by_class(self, rows: slice) -> list[float]:
        """Return the accuracy in percent of some checkpoints on the images of each label."""
        right = np.bincount(self.labels, weights=self.right[rows].mean(axis=0), minlength=self.classes)
        accuracies: list[float] = (100 * right / self.sizes).tolist()
        return accuracies

    @property
    def sizes(self) -> np.ndarray:
        return np.bincount(self.labels, minlength=self.classes)


def benchmark(
    answers: ModelPredictions,
    styles: Sequence[str],
    bootstrap: int = 1000,
    groups: Sequence[str] | None = None,
    real_styles: Sequence[str] | None = None,
) -> Benchmark:
    """Score models on a generated and a real set of images over the same K classes, and within the styles of both.

    Intervals are 95 %: Clopper-Pearson for the accuracy of one checkpoint, else percentile bootstraps (deterministic).
    Each replicate resamples the images of either set, or the groups of the real ones, the same for all models, and the
    checkpoints of each model, where there are several: models are paired by image, and checkpoints are not paired. With
    groups, the drop has the degrees of freedom of these alone, which are fewer than its own. Styles are not resampled.

    Args:
        answers: Predictions, each on the same images of both sets, over the same classes.
        styles: Those of the generated images, "" where unknown.
        groups: Those of the real images, None where they have none.
        real_styles: The styles of the real images, None where all are unknown.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
    """
    pairs = [pair for of_model in answers.values() for pair in of_model]
    sides = (
        _side([g for g, _ in pairs], styles, None, bootstrap),
        _side([r for _, r in pairs], real_styles, groups, bootstrap),
    )
    rng = np.random.default_rng(0)
    over_all = [side.accuracy(rng) for side in sides]
    # The real styles have a generator of their own, so that they leave the intervals over all images as they are.
    rngs = (rng, np.random.default_rng(1))
    by_style = [side.by_style(whole, of) for side, whole, of in zip(sides, over_all, rngs, strict=True)]
    models: list[Checkpoints] = []
    for of_model in answers.values():
        start = models[-1][0].stop if models else 0
        models.append((slice(start, start + len(of_model)), seed_weights(len(of_model), bootstrap, rng)))
    generated, real = (Counter(side.styles.tolist()) for side in sides)
    made = Benchmark(
        models={name: len(of_model) for name, of_model in answers.items()},
        parts=(),
        by_class=tuple(
            zip(*(zip(*(side.by_class(rows) for side in sides), strict=True) for rows, _ in models), strict=True)
        ),
        sizes=tuple(zip(*(side.sizes.tolist() for side in sides), strict=True)),
        styles={style: (generated[style], real[style]) for style in sorted({*generated, *real})},
        hardest=_hardest_images(sides[0], [rows for rows, _ in models]),
    )
    parts = [_part(ALL, "", over_all, models)]
    if made.shared:
        means = [_mean_over_styles([of_side[style] for style in made.shared]) for of_side in by_style]
        parts.insert(0, _part(WITHIN, "", means, models))
    for style in sorted({*by_style[0], *by_style[1]}):
        parts.append(_part(STYLE, style, [of_side.get(style) for of_side in by_style], models))
    return replace(made, parts=tuple(parts))


def _mean_over_styles(parts: Sequence[Measured]) -> Measured:
    """The mean over styles, each with the same weight."""
    return parts[0] if len(parts) == 1 else mean_of(parts, f"mean of {len(parts)} styles")


def _part(scope: str, style: str, sides: Sequence[Measured | None], models: Sequence[Checkpoints]) -> Part:
    """How each of `models` did on some images of both sets, beside the first of them."""
    generated, real = sides
    drops = None if generated is None or real is None else _drops(generated, real)
    scores = list[Scores]()
    for model in models:
        own = [None if of is None else _model_score(of, model) for of in (generated, real, drops)]
        beyond = None if drops is None or not scores else _drop_beyond_first(drops, model, models[0])
        scores.append(Scores(own[0], own[1], own[2], beyond))
    return Part(scope, style, 0 if real is None else len(real.shares), tuple(scores))


def _drops(generated: Measured, real: Measured) -> Measured:
    return replace(
        real,
        point=real.point - generated.point,
        draws=real.draws - generated.draws,
        n=real.n + generated.n,
        over=f"{real.over} of real images and generated images" if real.shares else BOTH,
        bounds=(-100, 100),
        right=None,
    )


def _model_score(measured: Measured, model: Checkpoints) -> Score:
    """The mean over the checkpoints of a model.

    Exact where it can be: the accuracy of one checkpoint is a binomial proportion. So is that of several which are all
    right, or all wrong, everywhere: resampling them would give an interval of no width.
    """
    rows, weights = model
    right = None if measured.right is None else measured.right[0, rows]
    if rows.stop - rows.start == 1 or (right is not None and np.isin(right[0], (0, measured.n)) and np.ptp(right) == 0):
        return _checkpoint_score(measured, rows.start)
    part = replace(measured, point=measured.point[:, rows], draws=measured.draws[:, :, rows], right=None)
    return part.arm(0, weights)


def _checkpoint_score(measured: Measured, checkpoint: int) -> Score:
    """The score of one checkpoint, whose method says what it is a mean of."""
    score = measured.one(0, checkpoint)
    return replace(score, method=f"{measured.of}; {score.method}") if measured.of else score


def _side(
    predictions: Sequence[Predictions],
    styles: Sequence[str] | None,
    groups: Sequence[str] | None,
    bootstrap: int,
) -> _Side:
    """The answers on one set."""
    first = predictions[0]
    asked = [(np.arange(len(first.classes)), {"right": attrgetter("correct")})]
    at = np.arange(len(first.labels))
    return _Side(
        keys=first.keys,
        labels=first.labels,
        said=np.array([p.logits.argmax(axis=1) for p in predictions]),
        right=np.array([read_answers(p, asked)[0]["right"] for p in predictions]),
        doubt=np.array([-log_softmax(p.logits.astype(np.float64), axis=1)[at, p.labels] for p in predictions]),
        styles=np.asarray([""] * len(first.labels) if styles is None else styles),
        groups=groups,
        bootstrap=bootstrap,
        classes=len(first.classes),
    )


def _drop_beyond_first(drops: Measured, model: Checkpoints, first: Checkpoints) -> Score:
    """The drop of a model minus that of the first."""
    point = [drops.point[0, rows] for rows, _ in (model, first)]
    draws = [drops.draws[:, 0, rows] for rows, _ in (model, first)]
    images = draws[0].mean(axis=1) - draws[1].mean(axis=1)
    freedom = freedom_of_sum((float(images.var()), drops.freedom), *spread(point[0]), *spread(point[1]))
    mine, of_first = ((of * weights).sum(axis=1) for of, (_, weights) in zip(draws, (model, first), strict=True))
    beyond = replace(
        drops,
        point=np.array([[point[0].mean() - point[1].mean()]]),
        draws=(mine - of_first)[:, None, None],
        over=f"{drops.over} and each model's checkpoints",
        bounds=ANY,
        freedom=freedom,
    )
    return _checkpoint_score(beyond, 0)


def _hardest_images(side: _Side, models: Sequence[slice]) -> tuple[HardImage, ...]:
    """The images that more than half of the models get wrong; of equally many, the least probable labels first."""
    wrong = 1 - np.mean([side.right[rows].mean(axis=0) for rows in models], axis=0)
    doubt = np.mean([side.doubt[rows].mean(axis=0) for rows in models], axis=0)
    order = [i for i in np.lexsort((-doubt, -wrong.round(9))).tolist() if wrong[i] > 0.5]
    hardest = []
    for i in order[:HARDEST]:
        label = int(side.labels[i])
        given = Counter(side.said[side.said[:, i] != label, i].tolist())
        taken_for = tuple(sorted(given.items(), key=lambda item: (-item[1], item[0])))
        hardest.append(HardImage(i, side.keys[i], label, float(wrong[i]), taken_for))
    return tuple(hardest)
