"""The logits of saved predictions, restricted to classes and read once, a few images at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import chain

import numpy as np

from genrobust.core import GenrobustError, Predictions, UserError

# Images per block: their logits over 1,000 classes stay in the processor's cache.
ROWS = 256


class Answers:
    """The `logits`, float32 [N, C], of N images over C classes, and the `right` classes, bool [N, C].

    At least one class is right for each image, several if labels are one-to-many.
    """

    def __init__(self, logits: np.ndarray, right: np.ndarray) -> None:
        self.logits = logits
        self.right = right

    @cached_property
    def correct(self) -> np.ndarray:
        """Correctly classified images: bool [N]. Of equal logits, the first class is the prediction."""
        return self.mistaken_for < 0

    @cached_property
    def mistaken_for(self) -> np.ndarray:
        """The column of the wrongly predicted class, -1 if the prediction is right: int32 [N]."""
        predicted = self.logits.argmax(axis=1).astype(np.int32)
        is_right = self.right[np.arange(len(predicted)), predicted]
        return np.where(is_right, np.int32(-1), predicted)

    @cached_property
    def highest(self) -> np.ndarray:
        """The highest logit of each image: [N]."""
        return self.logits.max(axis=1)

    @cached_property
    def normalizer(self) -> np.ndarray:
        """The log of the sum of the exponentials: [N]. Log probabilities are the logits minus this (softmax)."""
        with np.errstate(invalid="ignore"):
            return self.highest + np.log(np.exp(self.logits - self.highest[:, None]).sum(axis=1))

    @cached_property
    def confidence(self) -> np.ndarray:
        """The probability of the predicted class: [N]."""
        return np.exp(self.highest - self.normalizer)

    def of_right(self, combine: np.ufunc) -> np.ndarray:
        """Return the logit of each image's right class, or of several right classes, joined by `combine`: [N]."""
        counts = np.count_nonzero(self.right, axis=1)
        starts = np.cumsum(counts) - counts
        return combine.reduceat(self.logits[self.right], starts)


# Computes one value or several values of each image: [N] or [N, P].
OfImages = Callable[[Answers], np.ndarray]


def own_classes(predictions: Predictions) -> np.ndarray:
    """Return the labels that are right for at least one image of the test set: int64, sorted, unique."""
    if predictions.accepted is None:
        return np.unique(predictions.labels)
    return np.unique(list(chain.from_iterable(predictions.accepted)))


def select_inside(predictions: Predictions, classes: np.ndarray) -> np.ndarray:
    """Return whether each image has a right label among `classes`: bool [N]."""
    if predictions.accepted is None:
        return np.isin(predictions.labels, classes)
    allowed = set(classes.tolist())
    return np.array([not allowed.isdisjoint(labels) for labels in predictions.accepted], dtype=bool)


def labels_inside(predictions: Predictions, classes: np.ndarray) -> np.ndarray:
    """Return the label of each image that `select_inside` selects: int64 [M].

    If an image's own label is not among `classes`, it is the first of its right labels that is.
    """
    labels = predictions.labels.copy()
    if predictions.accepted is not None:
        allowed = set(classes.tolist())
        for i in np.flatnonzero(~np.isin(labels, classes)).tolist():
            right = [label for label in predictions.accepted[i] if label in allowed]
            if right:
                labels[i] = right[0]
    return labels[select_inside(predictions, classes)]


def read_answers(
    predictions: Predictions, subsets: Sequence[tuple[np.ndarray, Mapping[str, OfImages]]]
) -> list[dict[str, np.ndarray]]:
    """Compute values of each image, with the logits restricted to some classes. Logits may be mapped from a file.

    Args:
        subsets: Classes, int64 sorted and unique, each with the values to compute over these classes, by name.

    Returns:
        For each of `subsets` the values by name, [M] or [M, P], of the M images with a right label among the classes.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
        UserError: The fields of `predictions` do not fit each other.
    """
    check_predictions(predictions)
    count = len(predictions.labels)
    blocks: list[dict[str, list[np.ndarray]]] = [defaultdict(list) for _ in subsets]
    members = [select_inside(predictions, classes) for classes, _ in subsets]
    is_broken = np.empty(count, dtype=bool)
    for start in range(0, count, ROWS):
        block = slice(start, start + ROWS)
        rows = predictions.logits[block]
        is_broken[block] = _has_no_finite_highest(rows)
        for (classes, of_images), inside, values in zip(subsets, members, blocks, strict=True):
            images = start + np.flatnonzero(inside[block])
            answers = _restrict(predictions, rows, start, images, classes)
            # The logarithms of rounded probabilities may be -inf for all of `classes`, and finite for others.
            if len(classes) < rows.shape[1]:
                is_broken[images] |= _has_no_finite_highest(answers.logits)
            for name, compute in of_images.items():
                values[name].append(compute(answers))
    if is_broken.any():
        raise GenrobustError(_broken_logits_message(predictions, is_broken))
    return [_join_blocks(values) for values in blocks]


def _join_blocks(values: Mapping[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate(arrays) for name, arrays in values.items()}


def _has_no_finite_highest(logits: np.ndarray) -> np.ndarray:
    """Return whether the highest logit of each row is NaN or infinite: bool [N]."""
    return ~np.isfinite(logits.max(axis=1, initial=-np.inf))


def _broken_logits_message(predictions: Predictions, is_broken: np.ndarray) -> str:
    first = predictions.keys[int(is_broken.argmax())]
    return (
        f"predictions on {predictions.test_set!r}: NaN or infinite logits for {int(is_broken.sum())} of "
        f"{len(is_broken)} images, first {first!r}: the checkpoint diverged or overflowed; train it again with a lower "
        "train.learning_rate or train.precision=float32. If the logits are logarithms of rounded probabilities, save "
        "the network's own logits instead"
    )


def _restrict(
    predictions: Predictions, rows: np.ndarray, start: int, images: np.ndarray, classes: np.ndarray
) -> Answers:
    """Return the answers for `images`, all of them among the `rows` of logits from `start` on, over `classes`."""
    logits = rows if len(images) == len(rows) else rows[images - start]
    if len(classes) < rows.shape[1]:
        logits = logits.take(classes, axis=1)
    column_of = np.full(rows.shape[1], -1)
    column_of[classes] = np.arange(len(classes))
    right = np.zeros(logits.shape, dtype=bool)
    if predictions.accepted is None:
        right[np.arange(len(images)), column_of[predictions.labels[images]]] = True
    else:
        accepted = [predictions.accepted[image] for image in images.tolist()]
        row_of = np.repeat(np.arange(len(images)), [len(labels) for labels in accepted])
        columns = column_of[np.fromiter(chain.from_iterable(accepted), dtype=np.int64)]
        is_inside = columns >= 0
        right[row_of[is_inside], columns[is_inside]] = True
    return Answers(np.asarray(logits), right)


def check_predictions(predictions: Predictions) -> None:
    """Raise UserError if logits, labels, keys, classes and accepted labels do not fit each other."""
    where = f"predictions on {predictions.test_set!r}"
    logits, labels = predictions.logits, predictions.labels
    classes = len(predictions.classes)
    if logits.ndim != 2 or logits.shape != (len(labels), classes):
        raise UserError(f"{where}: logits {logits.shape} do not fit {len(labels)} labels and {classes} classes")
    if not len(labels):
        raise UserError(f"{where}: there are no images")
    repeated = [name for name, uses in Counter(predictions.classes).items() if uses > 1]
    if repeated:
        raise UserError(f"{where}: two classes are called {repeated[0]!r}: give each its own name and evaluate again")
    if len(predictions.keys) != len(labels):
        raise UserError(f"{where}: {len(predictions.keys)} keys for {len(labels)} images")
    if predictions.accepted is not None and len(predictions.accepted) != len(labels):
        raise UserError(f"{where}: {len(predictions.accepted)} entries in accepted for {len(labels)} images")
    found = own_classes(predictions)
    if len(found) and not 0 <= found[0] <= found[-1] < classes:
        raise UserError(f"{where}: labels run from {found[0]} to {found[-1]}, but there are {classes} classes")
