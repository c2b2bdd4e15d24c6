"""Existing classifiers on a generated set and on a real one: accuracy on both, the drop, and the hardest images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import log_softmax

from genrobust.core import Predictions, Score, UserError
from genrobust.robustness.accuracy import accuracy_score, correct
from genrobust.robustness.compare import Measured, interval, measure_accuracy, seed_weights

HARDEST = 48  # images kept to be looked at
BOTH = "images of both sets"

# By name, one or more checkpoints of a model, such as seeds of an arm: predictions on the generated and the real set.
Answers = Mapping[str, Sequence[tuple[Predictions, Predictions]]]


@dataclass(frozen=True, slots=True)
class Pair:
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
    scores: Pair
    each: tuple[Pair, ...]
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
    minus the log probability that they gave to the label.
    """

    keys: tuple[str, ...]
    labels: np.ndarray
    said: np.ndarray
    right: np.ndarray
    doubt: np.ndarray


@dataclass(frozen=True, slots=True)
class _Accuracy:
    """What all checkpoints got right, bool [T, N], with its replicates, [B, 1, T]."""

    right: np.ndarray
    measured: Measured

    def of(self, its: slice, weights: np.ndarray) -> Score:
        """The accuracy of the checkpoints `its`, whose weights in each replicate are `weights` [B, S]."""
        own = self.right[its]
        # Exact where it can be: the accuracy of one checkpoint is a binomial proportion. So is that of several which
        # are all right, or all wrong, everywhere: resampling them would give an interval of no width.
        if len(own) == 1 or (own == own[0, 0]).all():
            return self.one(its.start)
        return _part(self.measured, its).arm(0, weights)

    def one(self, checkpoint: int) -> Score:
        return accuracy_score(self.right[checkpoint], self.measured.classes, self.measured.over)


def benchmark(answers: Answers, styles: Sequence[str], bootstrap: int = 1000) -> Benchmark:
    """Score `answers`, whose predictions are all over the same K classes, each with images in both sets.

    `styles` are those of the generated images ("" where unknown). Intervals are 95 %: Clopper-Pearson for the accuracy
    of one checkpoint, else percentile bootstraps (deterministic). Each replicate resamples the images of either set,
    the same for all models, and the checkpoints of each model, where there are several: models are paired by image, and
    checkpoints are not paired.

    Raises UserError where predictions are not of the same images or classes, GenrobustError for NaN logits.
    """
    sides = [_side([pair[i] for of_model in answers.values() for pair in of_model]) for i in (0, 1)]
    count = len(next(iter(answers.values()))[0][0].classes)
    rng = np.random.default_rng(0)

    def accuracy(right: np.ndarray) -> _Accuracy:
        return _Accuracy(right, measure_accuracy(right[None], count, bootstrap, rng))

    generated, real = (accuracy(side.right) for side in sides)
    names = np.asarray(styles)
    by_style = {s: accuracy(generated.right[:, names == s]) for s in dict.fromkeys(sorted(styles)) if s}
    drops = replace(
        real.measured,
        point=real.measured.point - generated.measured.point,
        draws=real.measured.draws - generated.measured.draws,
        n=real.measured.n + generated.measured.n,
        over=BOTH,
        bounds=(-np.inf, np.inf),
    )
    models: list[ModelScores] = []
    first: tuple[float, np.ndarray] | None = None
    stop = 0
    for name, of_model in answers.items():
        its = slice(stop, stop := stop + len(of_model))
        weights = seed_weights(len(of_model), bootstrap, rng)
        own = _part(drops, its)
        drop = own.arm(0, weights) if len(of_model) > 1 else own.cell(0, 0)
        drawn = (own.draws[:, 0] * weights).sum(axis=1)
        beyond = None if first is None else _beyond(drop, drawn, *first)
        first = first or (drop.value, drawn)
        models.append(
            ModelScores(
                name=name,
                scores=Pair(generated.of(its, weights), real.of(its, weights), drop),
                each=tuple(Pair(generated.one(t), real.one(t), drops.cell(0, t)) for t in range(its.start, its.stop)),
                beyond=beyond,
                classes=tuple(zip(*(_by_class(side, its, count) for side in sides), strict=True)),
                styles={style: found.of(its, weights) for style, found in by_style.items()},
            )
        )
    sizes = zip(*(np.bincount(side.labels, minlength=count).tolist() for side in sides), strict=True)
    return Benchmark(tuple(models), tuple(sizes), _hardest(sides[0], [len(of_model) for of_model in answers.values()]))


def _side(found: Sequence[Predictions]) -> _Side:
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
    )


def _part(of: Measured, its: slice) -> Measured:
    return replace(of, point=of.point[:, its], draws=of.draws[:, :, its])


def _beyond(drop: Score, drawn: np.ndarray, first: float, of_first: np.ndarray) -> Score:
    """`drop` minus that of the first model, whose replicates are `of_first` [B]."""
    lo, hi = interval(drawn - of_first)
    method = f"bootstrap 95 % over {BOTH} and each model's checkpoints"
    return replace(drop, value=drop.value - first, lo=lo, hi=hi, method=method)


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
