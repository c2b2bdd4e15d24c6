"""The accuracy of so many right answers, with its interval over images."""

from __future__ import annotations

from operator import attrgetter

import numpy as np
from scipy.special import betaincinv

from genrobust.core import Predictions, Score
from genrobust.robustness.answers import own_classes, read_answers


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """Return the exact 95 % binomial interval for `k` right of `n`, as fractions (Clopper and Pearson, 1934)."""
    lo = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, 0.025))  # scipy.stats takes half a second to load
    hi = 1.0 if k == n else float(betaincinv(k + 1, n - k, 0.975))
    return lo, hi


def accuracy_score(k: int, n: int, classes: int) -> Score:
    """Return the accuracy of `k` right of `n` images over so many classes, in percent."""
    lo, hi = clopper_pearson(k, n)
    return Score(100 * k / n, 100 * lo, 100 * hi, n, classes, "Clopper-Pearson 95 % over images")


def top1_score(predictions: Predictions) -> Score:
    """Return the top-1 accuracy of one checkpoint over the test set's own classes, in percent.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
        UserError: The parts of `predictions` do not fit each other.
    """
    classes = own_classes(predictions)
    (values,) = read_answers(predictions, [(classes, {"right": attrgetter("correct")})])
    return accuracy_score(int(values["right"].sum()), len(values["right"]), len(classes))


def spread_of_sure(draws: np.ndarray, point: np.ndarray, n: np.ndarray | int, rng: np.random.Generator) -> np.ndarray:
    """Return `draws` [B, ...] of accuracies `point` in percent of `n` images, where that is 0 or 100 % spread.

    Of images that are all right, or all wrong, every resample is the same. They are spread as far as the limits of
    Clopper and Pearson, alike for all such checkpoints.
    """
    away = 100 * (1 - rng.spawn(1)[0].random((len(draws), *(1,) * point.ndim)) ** (1 / np.asarray(n)))
    return np.where((point == 0) | (point == 100), np.abs(point - away), draws)
