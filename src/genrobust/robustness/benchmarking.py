"""Existing classifiers on a generated set and on a real one: accuracy on both, the drop, and the hardest images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import log_softmax

from genrobust.core import Predictions, Score, UserError
from genrobust.robustness.accuracy import correct
from genrobust.robustness.grouping import Groups
from genrobust.robustness.resampling import ANY, Measured, measure_accuracy, seed_weights

HARDEST = 48  # images kept to be looked at
BOTH = "images of both sets"

# By name, one or more checkpoints of a model, such as seeds of an arm: predictions on the generated and the real set.
ModelPredictions = Mapping[str, Sequence[tuple[Predictions, Predictions]]]


@dataclass(frozen=True, slots=True)
class OnBothSets:
    """Accuracy in percent on both sets over the same classes, and the `drop`: real minus generated, in points."""

    generated: Score
    real: Score
    drop: Score


@dataclass(frozen=True, slots=True)
class ModelScores:
    """What one model scored, as the mean over its checkpoints; `each` is a checkpoint alone.

    `beyond` is its drop minus that of the first model, None for that one. `classes` are the accuracies in percent on
    both sets by label, `styles` those on the generated images by style, where it is known.
    """

    name: str
    scores: OnBothSets
    each: tuple[OnBothSets, ...]
    beyond: Score | None
    classes: tuple[tuple[float, float], ...]
    styles: dict[str, Score]


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
    """Everything measured, over K classes; `sizes` are the images by label in the generated and the real set."""

    models: tuple[ModelScores, ...]
    sizes: tuple[tuple[int, int], ...]
    hardest: tuple[HardImage, ...]


@dataclass(frozen=True, slots=True)
class _Side:
    """The answers of all checkpoints, T, on one set of N images of these `keys` and `labels`, int64 [N].

    `said` int64 [T, N] are the labels that they gave, `right` bool [T, N] which are right, and `doubt` float [T, N]
    minus the log probability that they gave to the label. `groups` are those of the images, None without any.
    """

    keys: tuple[str, ...]
    labels: np.ndarray
    said: np.ndarray
    right: np.ndarray
    doubt: np.ndarray
    groups: Groups | None


def benchmark(
    answers: ModelPredictions, styles: Sequence[str], bootstrap: int = 1000, groups: Sequence[str] | None = None
) -> Benchmark:
    """Score models on a generated and a real set of images, over the same K classes.

    Intervals are 95 %: Clopper-Pearson for the accuracy of one checkpoint, else percentile bootstraps (deterministic).
    Each replicate resamples the images of either set, or the groups of the real ones, the same for all models, and the
    checkpoints of each model, where there are several: models are paired by image, and checkpoints are not paired.

    Args:
        answers: Predictions, each with images in both sets.
        styles: Those of the generated images, "" where unknown.
        groups: Those of the real images, None where they have none.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
        UserError: Predictions are not of the same images or classes.
    """
    both = zip(*(pair for of_model in answers.values() for pair in of_model), strict=True)
    sides = [_side(found, of_images) for found, of_images in zip(both, (None, groups), strict=True)]
    count, rng = len(next(iter(answers.values()))[0][0].classes), np.random.default_rng(0)
    generated, real = (measure_accuracy(side.right[None], count, bootstrap, rng, side.groups) for side in sides)
    by_style = _by_style(sides[0].right, styles, count, bootstrap, rng)
    all_three = generated, real, (drops := _drops(generated, real))
    models: list[ModelScores] = []
    first: tuple[float, np.ndarray] | None = None
    stop = 0
    for name, of_model in answers.items():
        its = slice(stop, stop := stop + len(of_model))
        weights = seed_weights(len(of_model), bootstrap, rng)
        scores = OnBothSets(*(_mean(measured, its, weights) for measured in all_three))
        drawn = (drops.draws[:, 0, its] * weights).sum(axis=1)
        models.append(
            ModelScores(
                name=name,
                scores=scores,
                each=tuple(OnBothSets(*(m.one(0, t) for m in all_three)) for t in range(its.start, its.stop)),
                beyond=None if first is None else _beyond(drops, scores.drop.value, drawn, *first),
                classes=tuple(zip(*(_by_class(side, its, count) for side in sides), strict=True)),
                styles={style: _mean(measured, its, weights) for style, measured in by_style.items()},
            )
        )
        first = first or (scores.drop.value, drawn)
    sizes = zip(*(np.bincount(side.labels, minlength=count).tolist() for side in sides), strict=True)
    return Benchmark(tuple(models), tuple(sizes), _hardest(sides[0], [len(of_model) for of_model in answers.values()]))


def _by_style(
    right: np.ndarray, styles: Sequence[str], count: int, bootstrap: int, rng: np.random.Generator
) -> dict[str, Measured]:
    names = np.asarray(styles)
    known = sorted({*styles} - {""})
    return {style: measure_accuracy(right[None, :, names == style], count, bootstrap, rng) for style in known}


def _drops(generated: Measured, real: Measured) -> Measured:
    """Real minus generated. With groups they have the degrees of freedom of these, which are fewer than their own."""
    return replace(
        real,
        point=real.point - generated.point,
        draws=real.draws - generated.draws,
        n=real.n + generated.n,
        over=f"{real.over} of real images and generated images" if real.shares else BOTH,
        bounds=ANY,
        right=None,
    )


def _mean(measured: Measured, its: slice, weights: np.ndarray) -> Score:
    """The mean over the checkpoints `its`, whose weights in each replicate are `weights` [B, S].

    Exact where it can be: the accuracy of one checkpoint is a binomial proportion. So is that of several which are all
    right, or all wrong, everywhere: resampling them would give an interval of no width.
    """
    own = None if measured.right is None else measured.right[0, its]
    if its.stop - its.start == 1 or (own is not None and np.isin(own[0], (0, measured.n)) and np.ptp(own) == 0):
        return measured.one(0, its.start)
    part = replace(measured, point=measured.point[:, its], draws=measured.draws[:, :, its], right=None)
    return part.arm(0, weights)


def _side(found: Sequence[Predictions], groups: Sequence[str] | None) -> _Side:
    first = found[0]
    for other in found:
        same = other.keys == first.keys and np.array_equal(other.labels, first.labels)
        if not same or other.classes != first.classes or other.accepted != first.accepted:
            raise UserError(f"the models were not asked the same images of {first.test_set} over the same classes")
    every = np.arange(len(first.classes))
    at = np.arange(len(first.labels))
    return _Side(
        keys=first.keys,
        labels=first.labels,
        said=np.array([p.logits.argmax(axis=1) for p in found]),
        right=np.array([correct(p, every) for p in found]),
        doubt=np.array([-log_softmax(p.logits.astype(np.float64), axis=1)[at, p.labels] for p in found]),
        groups=Groups.of(groups, np.ones(len(first.labels), dtype=bool)),
    )


def _beyond(drops: Measured, drop: float, drawn: np.ndarray, first: float, of_first: np.ndarray) -> Score:
    """A drop, with replicates `drawn` [B], minus that of the first model, with replicates `of_first`."""
    point, draws = np.array([[drop - first]]), (drawn - of_first)[:, None, None]
    return replace(drops, point=point, draws=draws, over=f"{drops.over} and each model's checkpoints").one(0, 0)


def _by_class(side: _Side, its: slice, count: int) -> list[float]:
    """The accuracy in percent on the images of each label."""
    right = np.bincount(side.labels, weights=side.right[its].mean(axis=0), minlength=count)
    found: list[float] = (100 * right / np.bincount(side.labels, minlength=count)).tolist()
    return found


def _hardest(side: _Side, groups: Sequence[int]) -> tuple[HardImage, ...]:
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
