"""The logits of saved predictions, restricted to classes and read once, a few images at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np

from genrobust.core import GenrobustError, Predictions, UserError

ROWS = 256  # images at a time: their logits over 1,000 classes stay in the processor's cache


class Answers:
    """The `logits`, float32 [N, C], of N images over C classes, and which classes are `right`, bool [N, C].

    At least one class is right for each image, several where labels are one-to-many.
    """

    def __init__(self, logits: np.ndarray, right: np.ndarray) -> None:
        self.logits, self.right = logits, right

    @cached_property
    def correct(self) -> np.ndarray:
        """Which images are classified correctly: bool [N]. Of equal logits the first class is the guess."""
        return self.mistaken_for < 0

    @cached_property
    def mistaken_for(self) -> np.ndarray:
        """The column of the wrong class that each image is taken for, -1 where the guess is right: int32 [N]."""
        guess = self.logits.argmax(axis=1).astype(np.int32)
        return np.where(self.right[np.arange(len(guess)), guess], np.int32(-1), guess)

    @cached_property
    def highest(self) -> np.ndarray:
        """The highest logit of each image: [N]."""
        return self.logits.max(axis=1)

    @cached_property
    def normalizer(self) -> np.ndarray:
        """The log of the sum of the exponentials: [N]. Log probabilities are the logits minus this (softmax)."""
        with np.errstate(invalid="ignore"):
            return self.highest + np.log(np.exp(self.logits - self.highest[:, None]).sum(axis=1))

    def of_right(self, combine: np.ufunc) -> np.ndarray:
        """The logits of the right classes, `combine`d where there are several: [N]."""
        counts = np.count_nonzero(self.right, axis=1)
        return combine.reduceat(self.logits[self.right], np.cumsum(counts) - counts)


OfImages = Callable[[Answers], np.ndarray]  # a value, or several, for each image: [N] or [N, P]


def own_classes(predictions: Predictions) -> np.ndarray:
    """Return the labels that are right for at least one image of the set: int64, sorted, unique."""
    if predictions.accepted is None:
        return np.unique(predictions.labels)
    return np.unique([label for labels in predictions.accepted for label in labels])


def inside(predictions: Predictions, classes: np.ndarray) -> np.ndarray:
    """Return which images have a right label among `classes`: bool [N]."""
    if predictions.accepted is None:
        return np.isin(predictions.labels, classes)
    allowed = set(classes.tolist())
    return np.array([not allowed.isdisjoint(labels) for labels in predictions.accepted], dtype=bool)


def labels_inside(predictions: Predictions, classes: np.ndarray) -> np.ndarray:
    """Return the labels of the images that are `inside`: the first right one where its own is not among `classes`."""
    labels = predictions.labels.copy()
    if predictions.accepted is not None:
        allowed = set(classes.tolist())
        for i in np.flatnonzero(~np.isin(labels, classes)).tolist():
            labels[i] = next((label for label in predictions.accepted[i] if label in allowed), labels[i])
    return labels[inside(predictions, classes)]


def read_answers(
    predictions: Predictions, subsets: Sequence[tuple[np.ndarray, Mapping[str, OfImages]]]
) -> list[dict[str, np.ndarray]]:
    """Compute values of each image, with the logits restricted to some classes; the logits may be mapped from a file.

    Args:
        subsets: Classes, int64 sorted and unique, with what is computed over them, by name.

    Returns:
        For each of `subsets` the values by name, [M] or [M, P], of the M images with a right label among the classes.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
        UserError: The parts of `predictions` do not fit each other.
    """
    check_predictions(predictions)
    count = len(predictions.labels)
    members = [inside(predictions, classes) for classes, _ in subsets]
    values: list[dict[str, list[np.ndarray]]] = [{name: [] for name in of_images} for _, of_images in subsets]
    broken = np.empty(count, dtype=bool)
    for start in range(0, count, ROWS):
        rows = predictions.logits[start : start + ROWS]
        broken[start : start + ROWS] = ~np.isfinite(rows.max(axis=1, initial=-np.inf))
        for (classes, of_images), inside_set, to in zip(subsets, members, values, strict=True):
            answers = _restricted(predictions, rows, start, inside_set[start : start + ROWS], classes)
            if len(classes) < rows.shape[1]:  # logarithms of probabilities may be -inf for all of these alone
                chosen = start + np.flatnonzero(inside_set[start : start + ROWS])
                broken[chosen] |= ~np.isfinite(answers.logits.max(axis=1, initial=-np.inf))
            for name, compute in of_images.items():
                to[name].append(compute(answers))
    if broken.any():
        key = predictions.keys[int(broken.argmax())]
        raise GenrobustError(
            f"predictions on {predictions.test_set!r}: NaN or infinite logits for {int(broken.sum())} of {count} "
            f"images, first {key!r}: the checkpoint diverged or overflowed; train it again with a lower "
            "train.learning_rate or train.precision=float32; of rounded probabilities, give the logits instead"
        )
    return [{name: np.concatenate(parts) for name, parts in of_images.items()} for of_images in values]


def _restricted(
    predictions: Predictions, rows: np.ndarray, start: int, selected: np.ndarray, classes: np.ndarray
) -> Answers:
    """The answers for the `selected` of `rows`, which are the images from `start` on, over `classes`."""
    images = start + np.flatnonzero(selected)
    logits = rows if selected.all() else rows[selected]
    if len(classes) < rows.shape[1]:
        logits = logits.take(classes, axis=1)
    column = np.full(rows.shape[1], -1)
    column[classes] = np.arange(len(classes))
    right = np.zeros(logits.shape, dtype=bool)
    if predictions.accepted is None:
        right[np.arange(len(images)), column[predictions.labels[images]]] = True
    else:
        pairs = [(row, column[label]) for row, i in enumerate(images) for label in predictions.accepted[i]]
        at, to = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        right[at[to >= 0], to[to >= 0]] = True
    return Answers(np.asarray(logits), right)


def check_predictions(predictions: Predictions) -> None:
    """Raise UserError where logits, labels, keys, classes and accepted labels do not fit each other."""
    where = f"predictions on {predictions.test_set!r}"
    logits, labels, classes = predictions.logits, predictions.labels, len(predictions.classes)
    if logits.ndim != 2 or logits.shape != (len(labels), classes):
        raise UserError(f"{where}: logits {logits.shape} do not fit {len(labels)} labels and {classes} classes")
    if not len(labels):
        raise UserError(f"{where}: there are no images")
    if len(set(predictions.classes)) < classes:
        twice = next(name for name, count in Counter(predictions.classes).items() if count > 1)
        raise UserError(f"{where}: two classes are called {twice!r}: give each a name of its own and evaluate again")
    if len(predictions.keys) != len(labels):
        raise UserError(f"{where}: {len(predictions.keys)} keys for {len(labels)} images")
    if predictions.accepted is not None and len(predictions.accepted) != len(labels):
        raise UserError(f"{where}: {len(predictions.accepted)} entries in accepted for {len(labels)} images")
    of_set = own_classes(predictions)
    if len(of_set) and not 0 <= of_set[0] <= of_set[-1] < classes:
        raise UserError(f"{where}: labels run from {of_set[0]} to {of_set[-1]}, but there are {classes} classes")
