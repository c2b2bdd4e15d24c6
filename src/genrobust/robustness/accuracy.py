"""Top-1 accuracy of saved predictions, over all classes or a subset of them, with its interval over images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.special import betaincinv

from genrobust.core import GenrobustError, Predictions, Score, UserError

Classes = Sequence[int] | np.ndarray
ROWS = 1024  # images at a time: their logits over 1,000 classes stay in the processor's cache


def clopper_pearson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact binomial interval for `k` right of `n`, as fractions (Clopper and Pearson, 1934).

    Raises UserError unless 0 <= k <= n and n > 0.
    """
    if not 0 <= k <= n or n == 0:
        raise UserError(f"no interval for {k} right of {n} images: it takes 0 <= k <= n and one image or more")
    tail = (1 - level) / 2
    lo = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))  # scipy.stats takes half a second to load
    hi = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return lo, hi


def own_classes(predictions: Predictions) -> np.ndarray:
    """The labels that are right for at least one image of the set: int64, sorted, unique."""
    if predictions.accepted is None:
        return np.unique(predictions.labels)
    return np.unique([label for labels in predictions.accepted for label in labels])


def inside(predictions: Predictions, classes: np.ndarray) -> np.ndarray:
    """Which images have a right label among `classes`: bool [N]."""
    if predictions.accepted is None:
        return np.isin(predictions.labels, classes)
    kept = set(classes.tolist())
    return np.array([not kept.isdisjoint(labels) for labels in predictions.accepted], dtype=bool)


def correct(predictions: Predictions, classes: Classes | None = None) -> np.ndarray:
    """Which images are classified right with the logits restricted to `classes`: bool [M], M <= N.

    `classes` are labels; None means the set's own (`own_classes`), so that a set over part of the classes is scored as
    a problem over those. Images with no right label in `classes` are left out; the others keep their order. An image
    with several `accepted` labels is right when the guess is any of them. Of equal logits the first class is the guess.

    Raises GenrobustError where a logit is NaN, UserError where the parts of `predictions` do not fit each other.
    """
    return correct_over(predictions, [own_classes(predictions) if classes is None else classes])[0]


def correct_over(predictions: Predictions, subsets: Sequence[Classes]) -> list[np.ndarray]:
    """`correct` over each of `subsets` of the classes, with the logits read once, a few rows at a time.

    So they may be mapped from a file that is larger than memory. Raises what `correct` raises.
    """
    _check(predictions)
    chosen = [np.unique(np.asarray(classes, dtype=np.int64)) for classes in subsets]
    found = []
    for classes, guess in zip(chosen, _guesses(predictions, chosen), strict=True):
        kept = inside(predictions, classes)
        if predictions.accepted is None:
            found.append(guess[kept] == predictions.labels[kept])
        else:
            places = np.flatnonzero(kept).tolist()
            rights = (int(guess[i]) in predictions.accepted[i] for i in places)
            found.append(np.fromiter(rights, bool, len(places)))
    return found


def top1(predictions: Predictions, classes: Classes | None = None) -> Score:
    """Top-1 accuracy in percent over `classes` (as in `correct`), with its Clopper-Pearson interval over images.

    Raises UserError where no image has a label among them, and what `correct` raises.
    """
    chosen = own_classes(predictions) if classes is None else np.unique(np.asarray(classes, dtype=np.int64))
    return accuracy_score(correct(predictions, chosen), len(chosen), predictions.test_set)


def accuracy_score(right: np.ndarray, classes: int, test_set: str) -> Score:
    """The Score of `right`, bool [N], over so many `classes`; `test_set` is named where N is 0 (UserError)."""
    n, k = len(right), int(right.sum())
    if n == 0:
        raise UserError(f"test set {test_set!r}: no image has a label among the {classes} classes it is scored over")
    lo, hi = clopper_pearson(k, n)
    return Score(100 * k / n, 100 * lo, 100 * hi, n, classes, "Clopper-Pearson 95 % over images")


def _check(predictions: Predictions) -> None:
    where = f"predictions on {predictions.test_set!r}"
    logits, labels, classes = predictions.logits, predictions.labels, len(predictions.classes)
    if logits.ndim != 2 or logits.shape != (len(labels), classes):
        raise UserError(f"{where}: logits {logits.shape} do not fit {len(labels)} labels and {classes} classes")
    if len(set(predictions.classes)) < classes:
        twice = next(name for name, count in Counter(predictions.classes).items() if count > 1)
        raise UserError(f"{where}: two classes are called {twice!r}: give each a name of its own and evaluate again")
    if len(predictions.keys) != len(labels):
        raise UserError(f"{where}: {len(predictions.keys)} keys for {len(labels)} images")
    if predictions.accepted is not None and len(predictions.accepted) != len(labels):
        raise UserError(f"{where}: {len(predictions.accepted)} entries in accepted for {len(labels)} images")
    known = own_classes(predictions)
    if len(known) and not 0 <= known[0] <= known[-1] < classes:
        raise UserError(f"{where}: labels run from {known[0]} to {known[-1]}, but there are {classes} classes")


def _guesses(predictions: Predictions, subsets: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The class of the highest logit among each of `subsets`: int64 [N] each. Raises GenrobustError for NaN."""
    logits, count = predictions.logits, len(predictions.labels)
    found = [np.full(count, -1, dtype=np.int64) for _ in subsets]
    broken = np.empty(count, dtype=bool)
    for start in range(0, count, ROWS):
        rows = logits[start : start + ROWS]
        broken[start : start + ROWS] = np.isnan(rows).any(axis=1)
        for guess, classes in zip(found, subsets, strict=True):
            if len(classes):
                part = rows if len(classes) == rows.shape[1] else rows.take(classes, axis=1)
                guess[start : start + ROWS] = classes[part.argmax(axis=1)]
    if broken.any():
        key = predictions.keys[int(broken.argmax())]
        raise GenrobustError(
            f"predictions on {predictions.test_set!r}: NaN logits for {int(broken.sum())} of {count} images, first "
            f"{key!r}: the checkpoint diverged or overflowed; train it again with a lower train.learning_rate or "
            "train.precision=float32"
        )
    return found
