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

from genrobust.core import Predictions, Score
from genrobust.data import confidence
from genrobust.robustness import (
    ANY,
    Groups,
    Measured,
    freedom_of_sum,
    mean_of,
    measure_accuracy,
    read_answers,
    seed_weights,
    variance_of_mean,
)

HARDEST = 24  # images kept to be looked at
BOTH = "images of both sets"

# By name, one or more checkpoints of a model, such as seeds of an arm: predictions on the generated and the real set.
ModelPredictions = Mapping[str, Sequence[tuple[Predictions, Predictions]]]
Checkpoints = tuple[slice, np.ndarray]  # of one model: their place among all, and their weights in each replicate


@dataclass(frozen=True, slots=True)
class Scores:
    """What one model scored on some images of both sets, as the mean over its checkpoints.

    `generated` and `real` are accuracies in percent; `drop` is real minus generated, in points, and `beyond` the drop
    minus that of the first model, None for that one.
    """

    generated: Score
    real: Score
    drop: Score
    beyond: Score | None


OfModels = tuple[Scores, ...]  # one of each model


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

    Attributes:
        models: The numbers of checkpoints by name.
        overall: The scores over all images.
        by_style: Those on the images of each style that both sets have; empty where all images are of one.
        within: The means over these styles, each with the same weight; empty where there are none.
        by_class: The accuracies in percent of each model on both sets, [K, models, 2].
        sizes: The numbers of images of each class in both sets, [K, 2].
        styles: Those of each style, "" where it is unknown.
        hardest: The generated images that most models get wrong.
    """

    models: dict[str, int]
    overall: OfModels
    by_style: dict[str, OfModels]
    within: OfModels
    by_class: list[list[list[float]]]
    sizes: list[list[int]]
    styles: dict[str, tuple[int, int]]
    hardest: tuple[HardImage, ...]


class _Side:
    """The answers of all T checkpoints on one set of N images: which are right, bool [T, N].

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
    """

    def __init__(
        self, predictions: Sequence[Predictions], styles: Sequence[str], groups: Sequence[str] | None, bootstrap: int
    ) -> None:
        self.labels, self.classes = predictions[0].labels, len(predictions[0].classes)
        asked = [(np.arange(self.classes), {"right": attrgetter("correct")})]
        self.right = np.array([read_answers(p, asked)[0]["right"] for p in predictions])
        self.sizes = np.bincount(self.labels, minlength=self.classes)
        self.styles, self._groups, self._bootstrap = np.asarray(styles), groups, bootstrap

    def accuracy(self, rng: np.random.Generator, style: str | None = None) -> Measured:
        """Return the accuracies on all images, or on those of a style."""
        members = np.ones(len(self.labels), dtype=bool) if style is None else self.styles == style
        groups = Groups.of(self._groups, members)
        return measure_accuracy(self.right[None, :, members], self.classes, self._bootstrap, rng, groups)

    def by_class(self, rows: slice) -> np.ndarray:
        """Return the accuracy in percent of some checkpoints on the images of each label, [K]."""
        right = np.bincount(self.labels, weights=self.right[rows].mean(axis=0), minlength=self.classes)
        return np.asarray(100 * right / self.sizes)


def benchmark(
    answers: ModelPredictions,
    styles: tuple[Sequence[str], Sequence[str]],
    groups: Sequence[str] | None = None,
    bootstrap: int = 1000,
) -> Benchmark:
    """Score models on a generated and a real set of images over the same K classes, and within the styles of both.

    Intervals are 95 %: Clopper-Pearson for the accuracy of one checkpoint, else percentile bootstraps (deterministic).
    Each replicate resamples the images of either set, or the groups of the real ones, the same for all models, and the
    checkpoints of each model, where there are several: models are paired by image, and checkpoints are not paired. With
    groups, the drop has the degrees of freedom of these alone, which are fewer than its own. Styles are not resampled.

    Args:
        answers: Predictions, each on the same images of both sets, over the same classes.
        styles: Those of the images of both sets, "" where unknown.
        groups: Those of the real images, None where they have none.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
    """
    pairs = [pair for of_model in answers.values() for pair in of_model]
    generated = [predictions for predictions, _ in pairs]
    sides = (
        _Side(generated, styles[0], None, bootstrap),
        _Side([predictions for _, predictions in pairs], styles[1], groups, bootstrap),
    )
    rng, models, start = np.random.default_rng(0), list[Checkpoints](), 0
    overall = [side.accuracy(rng) for side in sides]
    for of_model in answers.values():
        models.append((slice(start, start + len(of_model)), seed_weights(len(of_model), bootstrap, rng)))
        start += len(of_model)
    counts = [Counter(side.styles.tolist()) for side in sides]
    all_styles = sorted({*counts[0], *counts[1]})
    shared = [style for style in all_styles if style and all(of[style] for of in counts)] if len(all_styles) > 1 else []
    by_style = {style: [side.accuracy(rng, style) for side in sides] for style in shared}
    over = f"mean of {len(shared)} styles" if len(shared) > 1 else ""
    means = [mean_of(of_side, over) for of_side in zip(*by_style.values(), strict=True)]  # each of the same weight
    return Benchmark(
        models={name: len(of_model) for name, of_model in answers.items()},
        overall=_scores(overall, models),
        by_style={style: _scores(of_style, models) for style, of_style in by_style.items()},
        within=_scores(means, models) if means else (),
        by_class=np.transpose([[side.by_class(rows) for side in sides] for rows, _ in models], (2, 0, 1)).tolist(),
        sizes=np.transpose([side.sizes for side in sides]).tolist(),
        styles={style: (counts[0][style], counts[1][style]) for style in all_styles},
        hardest=_hardest_images(generated, [rows for rows, _ in models]),
    )


def _scores(sides: Sequence[Measured], models: Sequence[Checkpoints]) -> OfModels:
    """How each of `models` did on some images of both sets, beside the first of them."""
    generated, real = sides
    drops = replace(
        real,
        point=real.point - generated.point,
        draws=real.draws - generated.draws,
        n=real.n + generated.n,
        over=f"{real.over} of real images and generated images" if real.shares else BOTH,
        bounds=(-100, 100),
        right=None,
    )
    return tuple(
        Scores(
            generated=_model_score(generated, model),
            real=_model_score(real, model),
            drop=_model_score(drops, model),
            beyond=_drop_beyond_first(drops, model, models[0]) if number else None,
        )
        for number, model in enumerate(models)
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
    return part.arm_score(0, weights)


def _checkpoint_score(measured: Measured, checkpoint: int) -> Score:
    """The score of one checkpoint, whose method says what it is a mean of."""
    score = measured.checkpoint_score(0, checkpoint)
    return replace(score, method=f"{measured.label}; {score.method}") if measured.label else score


def _drop_beyond_first(drops: Measured, model: Checkpoints, first: Checkpoints) -> Score:
    """The drop of a model minus that of the first."""
    point = [drops.point[0, rows] for rows, _ in (model, first)]
    draws = [drops.draws[:, 0, rows] for rows, _ in (model, first)]
    images = draws[0].mean(axis=1) - draws[1].mean(axis=1)
    of_seeds = [*variance_of_mean(point[0]), *variance_of_mean(point[1])]
    freedom = freedom_of_sum((float(images.var()), drops.freedom), *of_seeds)
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


def _hardest_images(predictions: Sequence[Predictions], models: Sequence[slice]) -> tuple[HardImage, ...]:
    """The images that more than half of the models get wrong; of equally many, the least probable labels first."""
    keys, labels = predictions[0].keys, predictions[0].labels
    said = np.array([p.logits.argmax(axis=1) for p in predictions])
    trust = np.array([confidence(p.logits, labels) for p in predictions])
    wrong, trust = (np.mean([of[rows].mean(axis=0) for rows in models], axis=0) for of in (said != labels, trust))
    order = [i for i in np.lexsort((trust, -wrong.round(9))).tolist() if wrong[i] > 0.5]
    hardest = []
    for i in order[:HARDEST]:
        given = Counter(said[said[:, i] != labels[i], i].tolist())
        taken_for = tuple(sorted(given.items(), key=lambda item: (-item[1], item[0])))
        hardest.append(HardImage(i, keys[i], int(labels[i]), float(wrong[i]), taken_for))
    return tuple(hardest)
