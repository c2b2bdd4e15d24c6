"""Top-1 accuracy of saved predictions, over all classes or a subset of them, with its interval over images."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import numpy as np
from scipy.special import betaincinv

from genrobust.core import Predictions, Score, UserError
from genrobust.robustness.answers import own_classes, read_answers

Classes = Sequence[int] | np.ndarray


def clopper_pearson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact binomial interval for `k` right of `n`, as fractions (Clopper and Pearson, 1934).

    Raises:
        UserError: Unless 0 <= k <= n and n > 0.
    """
    if not 0 <= k <= n or n == 0:
        raise UserError(f"no interval for {k} right of {n} images: it takes 0 <= k <= n and one image or more")
    tail = (1 - level) / 2
    lo = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))  # scipy.stats takes half a second to load
    hi = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return lo, hi


def correct(predictions: Predictions, classes: Classes | None = None) -> np.ndarray:
    """Return which images are classified right with the logits restricted to `classes`: bool [M], M <= N.

    An image with several `accepted` labels is right when the guess is any of them.

    Args:
        classes: Labels; None for the set's own (`own_classes`). Images with no right label among them are left out.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
        UserError: The parts of `predictions` do not fit each other.
    """
    chosen = own_classes(predictions) if classes is None else np.unique(np.asarray(classes, dtype=np.int64))
    return read_answers(predictions, [(chosen, {"correct": attrgetter("correct")})])[0]["correct"]


def top1(predictions: Predictions, classes: Classes | None = None) -> Score:
    """Return top-1 accuracy in percent over `classes` (as in `correct`), with its Clopper-Pearson interval.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
        UserError: No image has a label among `classes`, or the parts of `predictions` do not fit each other.
    """
    chosen = own_classes(predictions) if classes is None else np.unique(np.asarray(classes, dtype=np.int64))
    right = correct(predictions, chosen)
    require_images(len(right), len(chosen), predictions.test_set)
    return accuracy_score(int(right.sum()), len(right), len(chosen))


def require_images(n: int, classes: int, test_set: str) -> None:
    """Raise UserError where a set has no image with a label among its `classes` classes."""
    if n == 0:
        raise UserError(f"test set {test_set!r}: no image has a label among the {classes} classes it is scored over")


def accuracy_score(k: int, n: int, classes: int) -> Score:
    """Return the accuracy of `k` right of `n` images over so many classes, in percent."""
    lo, hi = clopper_pearson(k, n)
    return Score(100 * k / n, 100 * lo, 100 * hi, n, classes, "Clopper-Pearson 95 % over images")


def spread_of_sure(draws: np.ndarray, point: np.ndarray, n: np.ndarray | int, rng: np.random.Generator) -> np.ndarray:
    """Return `draws` [B, ...] of accuracies `point` in percent of `n` images, where that is 0 or 100 % spread.

    Of images that are all right, or all wrong, every resample is the same. They are spread as far as the limits of
    Clopper and Pearson, alike for all such checkpoints.
    """
    away = 100 * (1 - rng.spawn(1)[0].random((len(draws), *(1,) * point.ndim)) ** (1 / np.asarray(n)))
    return np.where((point == 0) | (point == 100), np.abs(point - away), draws)
