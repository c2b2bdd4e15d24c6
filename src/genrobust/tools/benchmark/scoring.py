"""Existing classifiers on a generated set and on a real one: accuracy on both, the drop, and the hardest images.

A drop over all images is one of style, too, where a set has styles that the other lacks or has less of. So drops are
measured within the styles of both sets as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
    require_names,
    require_replicates,
    seed_weights,
    spread,
)

HARDEST = 48  # images kept to be looked at
BOTH = "images of both sets"

# By name, one or more checkpoints of a model, such as seeds of an arm: predictions on the generated and the real set.
ModelPredictions = Mapping[str, Sequence[tuple[Predictions, Predictions]]]
Checkpoints = tuple[slice, np.ndarray]  # of one model: their place among all, and their weights in each replicate


@dataclass(frozen=True, slots=True)
class OnBothSets:
    """Accuracy in percent on both sets over the same classes, and the `drop`: real minus generated, in points."""

    generated: Score
    real: Score
    drop: Score


@dataclass(frozen=True, slots=True)
class Compared:
    """How a model did on both sets, as the mean over its checkpoints.

    `beyond` is its drop minus that of the first model, None for that one.
    """

    scores: OnBothSets
    beyond: Score | None


@dataclass(frozen=True, slots=True)
class StyleScores:
    """Accuracy in percent on the images of one style, None for a set without any, and the drop where both have some."""

    generated: Score | None
    real: Score | None
    drop: Score | None


@dataclass(frozen=True, slots=True)
class ModelScores(Compared):
    """The scores of one model: first of all, how it did over all images.

    It is the mean over `checkpoints`. `classes` are the accuracies in percent on both sets by label, `styles` the
    scores by style, where it is known. `within` is how it did within the styles of both sets: every metric is the mean
    over these styles, each with the same weight. None where the sets have no style in common.
    """

    name: str
    checkpoints: int
    classes: tuple[tuple[float, float], ...]
    styles: dict[str, StyleScores]
    within: Compared | None

    @property
    def leading(self) -> Compared:
        """The comparison within styles, or over all images where there is none."""
        return self.within or self


@dataclass(frozen=True, slots=True)
class HardImage:
    """A generated image that most models get wrong: `wrong` is the share of them, each weighing the same.

    `said` holds the label that each checkpoint of each model gave.
    """

    index: int
    key: str
    label: int
    wrong: float
    said: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Everything measured, over K classes.

    `sizes` are the numbers of images by label in the generated and the real set, `styles` those by style, "" where it
    is unknown.
    """

    models: tuple[ModelScores, ...]
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

    def accuracy(self, members: np.ndarray, classes: int, rng: np.random.Generator) -> Measured:
        """Return the accuracies on the images that `members`, bool [N], selects: one or more."""
        right = self.right[:, members]
        return measure_accuracy(right[None], classes, self.bootstrap, rng, Groups.of(self.groups, members))


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
        ValueError: An image has no style or group, or `bootstrap` is below 20.
    """
    require_replicates(bootstrap)
    pairs = [pair for of_model in answers.values() for pair in of_model]
    sides = (
        _side([g for g, _ in pairs], styles, None, "styles", bootstrap),
        _side([r for _, r in pairs], real_styles, groups, "real_styles", bootstrap),
    )
    counts, classes = [len(of_model) for of_model in answers.values()], len(pairs[0][0].classes)
    sizes = zip(*(np.bincount(side.labels, minlength=classes).tolist() for side in sides), strict=True)
    generated, real = (Counter(side.styles.tolist()) for side in sides)
    return Benchmark(
        models=tuple(_score_models(answers, sides, classes)),
        sizes=tuple(sizes),
        styles={style: (generated[style], real[style]) for style in sorted({*generated, *real})},
        hardest=_hardest_images(sides[0], counts),
    )


def _score_models(answers: ModelPredictions, sides: tuple[_Side, _Side], classes: int) -> Iterator[ModelScores]:
    rng = np.random.default_rng(0)
    generated, real = (side.accuracy(np.ones(len(side.labels), dtype=bool), classes, rng) for side in sides)
    # The real styles have a generator of their own, so that they leave the intervals over all images as they are.
    known = sorted({style for side in sides for style in side.styles.tolist()} - {""})
    on_generated = _accuracy_by_style(sides[0], known, generated, rng)
    on_real = _accuracy_by_style(sides[1], known, real, np.random.default_rng(1))
    shared = [style for style in known if style in on_generated and style in on_real]
    models: list[Checkpoints] = []
    stop = 0
    for of_model in answers.values():
        rows = slice(stop, stop := stop + len(of_model))
        models.append((rows, seed_weights(len(of_model), sides[0].bootstrap, rng)))
    overall = _compare_models(generated, real, models)
    within: Sequence[Compared | None] = [None] * len(models)
    if shared:
        means = [_mean_over_styles([by_style[style] for style in shared]) for by_style in (on_generated, on_real)]
        within = _compare_models(means[0], means[1], models)
    for name, model, compared, of_styles in zip(answers, models, overall, within, strict=True):
        yield ModelScores(
            scores=compared.scores,
            beyond=compared.beyond,
            name=name,
            checkpoints=model[0].stop - model[0].start,
            classes=tuple(zip(*(_accuracy_by_class(side, model[0], classes) for side in sides), strict=True)),
            styles={style: _style_scores(on_generated.get(style), on_real.get(style), model) for style in known},
            within=of_styles,
        )


def _accuracy_by_style(
    side: _Side, styles: Sequence[str], whole: Measured, rng: np.random.Generator
) -> dict[str, Measured]:
    """The accuracies on the images of each of `styles` that has some: `whole` where all images are of one."""
    members = {style: side.styles == style for style in styles}
    return {
        style: whole if in_style.all() else side.accuracy(in_style, whole.classes, rng)
        for style, in_style in members.items()
        if in_style.any()
    }


def _mean_over_styles(parts: Sequence[Measured]) -> Measured:
    """The mean over styles, each with the same weight."""
    return parts[0] if len(parts) == 1 else mean_of(parts, f"mean of {len(parts)} styles")


def _compare_models(generated: Measured, real: Measured, models: Sequence[Checkpoints]) -> list[Compared]:
    """How each of `models` did on both sets, beside the first of them."""
    drops = _drops(generated, real)
    drawn = [(drops.draws[:, 0, rows] * weights).sum(axis=1) for rows, weights in models]
    return [
        Compared(
            scores=OnBothSets(*(_model_score(measured, model) for measured in (generated, real, drops))),
            beyond=_drop_beyond_first(drops, (model[0], draws), (models[0][0], drawn[0])) if i else None,
        )
        for i, (draws, model) in enumerate(zip(drawn, models, strict=True))
    ]


def _style_scores(generated: Measured | None, real: Measured | None, model: Checkpoints) -> StyleScores:
    drop = None if generated is None or real is None else _drops(generated, real)
    return StyleScores(
        *(None if measured is None else _model_score(measured, model) for measured in (generated, real, drop))
    )


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
    argument: str,
    bootstrap: int,
) -> _Side:
    """The answers on one set; `argument` names its styles."""
    first = predictions[0]
    for name, names in (("groups", groups), (argument, styles)):
        if names is not None:
            require_names(names, len(first.labels), name)
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
    )


def _drop_beyond_first(drops: Measured, model: tuple[slice, np.ndarray], first: tuple[slice, np.ndarray]) -> Score:
    """The drop of a model minus that of the first, each given by its checkpoints and the replicates [B] of its mean."""
    (rows, drawn), (of_first, drawn_first) = model, first
    model_drops, first_drops = drops.point[0, rows], drops.point[0, of_first]
    images = drops.draws[:, 0, rows].mean(axis=1) - drops.draws[:, 0, of_first].mean(axis=1)
    freedom = freedom_of_sum((float(images.var()), drops.freedom), *spread(model_drops), *spread(first_drops))
    point, draws = np.array([[model_drops.mean() - first_drops.mean()]]), (drawn - drawn_first)[:, None, None]
    over = f"{drops.over} and each model's checkpoints"
    return _checkpoint_score(replace(drops, point=point, draws=draws, over=over, bounds=ANY, freedom=freedom), 0)


def _accuracy_by_class(side: _Side, rows: slice, count: int) -> list[float]:
    """The accuracy in percent on the images of each label."""
    right = np.bincount(side.labels, weights=side.right[rows].mean(axis=0), minlength=count)
    accuracies: list[float] = (100 * right / np.bincount(side.labels, minlength=count)).tolist()
    return accuracies


def _hardest_images(side: _Side, groups: Sequence[int]) -> tuple[HardImage, ...]:
    """The images that more than half of the models get wrong; of equally many, the least probable labels first.

    `groups` are the numbers of checkpoints of the models.
    """
    starts = np.cumsum([0, *groups[:-1]])
    checkpoints = np.asarray(groups)[:, None]
    wrong = 1 - (np.add.reduceat(side.right, starts, axis=0, dtype=float) / checkpoints).mean(axis=0)
    doubt = (np.add.reduceat(side.doubt, starts, axis=0) / checkpoints).mean(axis=0)
    order = [i for i in np.lexsort((-doubt, -wrong.round(9))).tolist() if wrong[i] > 0.5]
    return tuple(
        HardImage(
            index=i,
            key=side.keys[i],
            label=int(side.labels[i]),
            wrong=float(wrong[i]),
            said=tuple(tuple(part.tolist()) for part in np.split(side.said[:, i], starts[1:])),
        )
        for i in order[:HARDEST]
    )
