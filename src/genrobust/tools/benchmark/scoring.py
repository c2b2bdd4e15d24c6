"""Scores of existing classifiers on a generated and a real set: accuracies, the drop, and the hardest images.

If the sets have different shares of styles, the drop over all images also measures the change of style. So drops are
measured within the styles of both sets, too.
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

HARDEST = 24  # images to show
BOTH = "images of both sets"

# The predictions of each checkpoint of a model on the generated and on the real set, by the name of the model.
ModelPredictions = Mapping[str, Sequence[tuple[Predictions, Predictions]]]


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of one model.

    Attributes:
        rows: Their places among the checkpoints of all models.
        weights: Their weights in each bootstrap replicate, float64 [S, T].
    """

    rows: slice
    weights: np.ndarray


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one model on some images of both sets, as the mean over its checkpoints.

    Attributes:
        generated: Accuracy on generated images, percent.
        real: Accuracy on real images, percent.
        drop: Real minus generated, points.
        beyond: The drop minus the drop of the first model. None for the first model.
    """

    generated: Score
    real: Score
    drop: Score
    beyond: Score | None


OfModels = tuple[Scores, ...]  # one for each model


@dataclass(frozen=True, slots=True)
class HardImage:
    """A generated image that most models get wrong.

    Attributes:
        index: Its place in the generated set.
        wrong: The share of models that get it wrong. Each model counts the same.
        taken_for: The wrong labels and how many checkpoints gave each, the most frequent first.
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
        by_style: The scores on each style that both sets have. Empty if all images have one style.
        within: The means over these styles, each with the same weight. Empty if there are none.
        by_class: The accuracies of each model on both sets, percent [K, models, 2].
        sizes: The number of images of each class in both sets, [K, 2].
        styles: The number of images of each style in both sets. "" is an unknown style.
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
    """The answers of all T checkpoints on one set of N images.

    Attributes:
        right: Which answers are right, bool [T, N].

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
    """

    def __init__(
        self, predictions: Sequence[Predictions], styles: Sequence[str], groups: Sequence[str] | None, bootstrap: int
    ) -> None:
        self.labels = predictions[0].labels
        self.classes = len(predictions[0].classes)
        asked = [(np.arange(self.classes), {"right": attrgetter("correct")})]
        self.right = np.array([read_answers(of_checkpoint, asked)[0]["right"] for of_checkpoint in predictions])
        self.sizes = np.bincount(self.labels, minlength=self.classes)
        self.styles = np.asarray(styles)
        self._groups = groups
        self._bootstrap = bootstrap

    def accuracy(self, rng: np.random.Generator, style: str | None = None) -> Measured:
        """Return the accuracies on all images, or on the images of a style."""
        if style is None:
            members = np.ones(len(self.labels), dtype=bool)
        else:
            members = self.styles == style
        groups = Groups.of(self._groups, members)
        return measure_accuracy(self.right[None, :, members], self.classes, self._bootstrap, rng, groups)

    def by_class(self, rows: slice) -> np.ndarray:
        """Return the accuracy of some checkpoints on the images of each label, percent [K]."""
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
    Each replicate resamples the images of both sets, or the groups of real images, in the same way for all models. It
    also resamples the checkpoints of each model, if there are several. So models are paired by image, and checkpoints
    are not paired. With groups, the drop has the degrees of freedom of the groups. Styles are not resampled.

    Args:
        answers: Predictions on the same images of both sets, over the same classes.
        styles: The style of each image of both sets, "" if unknown.
        groups: The group of each real image. None without groups.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
    """
    pairs = [pair for of_model in answers.values() for pair in of_model]
    generated = [on_generated for on_generated, _ in pairs]
    real = [on_real for _, on_real in pairs]
    sides = (_Side(generated, styles[0], None, bootstrap), _Side(real, styles[1], groups, bootstrap))
    rng = np.random.default_rng(0)
    # The order of these draws decides the replicates.
    overall = [side.accuracy(rng) for side in sides]
    models = _draw_checkpoints(answers, bootstrap, rng)
    counts = _count_styles(sides)
    shared = _shared_styles(counts)
    by_style = {style: [side.accuracy(rng, style) for side in sides] for style in shared}
    over = f"mean of {len(shared)} styles" if len(shared) > 1 else ""
    means = [mean_of(of_side, over) for of_side in zip(*by_style.values(), strict=True)]
    by_class = [[side.by_class(model.rows) for side in sides] for model in models]
    return Benchmark(
        models={name: len(of_model) for name, of_model in answers.items()},
        overall=_scores(overall, models),
        by_style={style: _scores(of_style, models) for style, of_style in by_style.items()},
        within=_scores(means, models) if means else (),
        by_class=np.transpose(by_class, (2, 0, 1)).tolist(),
        sizes=np.transpose([side.sizes for side in sides]).tolist(),
        styles=counts,
        hardest=_hardest_images(generated, models),
    )


def _draw_checkpoints(answers: ModelPredictions, bootstrap: int, rng: np.random.Generator) -> list[Checkpoints]:
    """Draw the weights of the checkpoints of each model in each replicate."""
    models: list[Checkpoints] = []
    start = 0
    for of_model in answers.values():
        end = start + len(of_model)
        models.append(Checkpoints(slice(start, end), seed_weights(len(of_model), bootstrap, rng)))
        start = end
    return models


def _count_styles(sides: tuple[_Side, _Side]) -> dict[str, tuple[int, int]]:
    """Count the images of each style in both sets, sorted by style."""
    generated, real = (Counter(side.styles.tolist()) for side in sides)
    return {style: (generated[style], real[style]) for style in sorted({*generated, *real})}


def _shared_styles(counts: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return the known styles of both sets. Empty if all images have one style."""
    if len(counts) == 1:
        return []
    return [style for style, of_sides in counts.items() if style and all(of_sides)]


def _scores(sides: Sequence[Measured], models: Sequence[Checkpoints]) -> OfModels:
    """Return the scores of each of `models` on some images of both sets, also relative to the first model."""
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
    """Return the mean score over the checkpoints of a model."""
    rows = model.rows
    # The accuracy of one checkpoint is a binomial proportion with an exact interval.
    if rows.stop - rows.start == 1 or _are_constant(measured, rows):
        return _checkpoint_score(measured, rows.start)
    part = replace(measured, point=measured.point[:, rows], draws=measured.draws[:, :, rows], right=None)
    return part.arm_score(0, model.weights)


def _are_constant(measured: Measured, rows: slice) -> bool:
    """Return whether some checkpoints are all right, or all wrong, everywhere: a bootstrap would have no width."""
    if measured.right is None:
        return False
    right = measured.right[0, rows]
    return bool(np.isin(right[0], (0, measured.n)) and np.ptp(right) == 0)


def _checkpoint_score(measured: Measured, checkpoint: int) -> Score:
    """Return the score of one checkpoint. Its method says over which styles it is a mean."""
    score = measured.checkpoint_score(0, checkpoint)
    if measured.label:
        return replace(score, method=f"{measured.label}; {score.method}")
    return score


def _drop_beyond_first(drops: Measured, model: Checkpoints, first: Checkpoints) -> Score:
    """Return the drop of a model minus the drop of the first model."""
    point = drops.point[0, model.rows]
    first_point = drops.point[0, first.rows]
    draws = drops.draws[:, 0, model.rows]
    first_draws = drops.draws[:, 0, first.rows]
    by_images = draws.mean(axis=1) - first_draws.mean(axis=1)
    by_seeds = [*variance_of_mean(point), *variance_of_mean(first_point)]
    freedom = freedom_of_sum((float(by_images.var()), drops.freedom), *by_seeds)
    weighted = (draws * model.weights).sum(axis=1)
    first_weighted = (first_draws * first.weights).sum(axis=1)
    beyond = replace(
        drops,
        point=np.array([[point.mean() - first_point.mean()]]),
        draws=(weighted - first_weighted)[:, None, None],
        over=f"{drops.over} and each model's checkpoints",
        bounds=ANY,
        freedom=freedom,
    )
    return _checkpoint_score(beyond, 0)


def _hardest_images(predictions: Sequence[Predictions], models: Sequence[Checkpoints]) -> tuple[HardImage, ...]:
    """Return the images that more than half of the models get wrong, the most frequent ones first.

    Among equals, the images with the least probable labels come first.
    """
    keys = predictions[0].keys
    labels = predictions[0].labels
    answers = np.array([of_checkpoint.logits.argmax(axis=1) for of_checkpoint in predictions])
    probabilities = np.array([confidence(of_checkpoint.logits, labels) for of_checkpoint in predictions])
    wrong = _mean_over_models(answers != labels, models)
    probability = _mean_over_models(probabilities, models)
    order = np.lexsort((probability, -wrong.round(9)))
    hardest: list[HardImage] = []
    for index in order[wrong[order] > 0.5][:HARDEST].tolist():
        label = int(labels[index])
        given = Counter(answers[answers[:, index] != label, index].tolist())
        taken_for = tuple(sorted(given.items(), key=lambda item: (-item[1], item[0])))
        hardest.append(HardImage(index, keys[index], label, float(wrong[index]), taken_for))
    return tuple(hardest)


def _mean_over_models(values: np.ndarray, models: Sequence[Checkpoints]) -> np.ndarray:
    """Return the mean of `values` [T, N] over models, each of which is the mean over its checkpoints: [N]."""
    return np.asarray(np.mean([values[model.rows].mean(axis=0) for model in models], axis=0))
