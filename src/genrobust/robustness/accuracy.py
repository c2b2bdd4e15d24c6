"""Top-1 accuracy with its exact interval over images."""

from __future__ import annotations

from operator import attrgetter

import numpy as np
from scipy.special import betaincinv

from genrobust.core import Predictions, Score
from genrobust.robustness.answers import own_classes, read_answers


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """Return the exact 95 % binomial interval for `k` right of `n`, as fractions (Clopper and Pearson, 1934)."""
    # scipy.special loads in a few milliseconds, scipy.stats in half a second.
    lo = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, 0.025))
    hi = 1.0 if k == n else float(betaincinv(k + 1, n - k, 0.975))
    return lo, hi


def accuracy_score(k: int, n: int, classes: int) -> Score:
    """Return the accuracy in percent of `k` right of `n` images, scored over a number of `classes`."""
    lo, hi = clopper_pearson(k, n)
    return Score(100 * k / n, 100 * lo, 100 * hi, n, classes, "Clopper-Pearson 95 % over images")


def top1_score(predictions: Predictions) -> Score:
    """Return the top-1 accuracy of one checkpoint over the test set's own classes, in percent.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
        UserError: The fields of `predictions` do not fit each other.
    """
    classes = own_classes(predictions)
    (values,) = read_answers(predictions, [(classes, {"right": attrgetter("correct")})])
    right = values["right"]
    return accuracy_score(int(right.sum()), len(right), len(classes))


def spread_certain(draws: np.ndarray, point: np.ndarray, n: np.ndarray | int, rng: np.random.Generator) -> np.ndarray:
    """Give replicates of accuracies of exactly 0 or 100 % a spread, and leave all others as they are.

    If all images are right, or all are wrong, every resample is the same. These replicates are drawn from the
    distribution whose quantiles are the limits of Clopper and Pearson, the same draw for all such checkpoints.

    Args:
        draws: Replicates in percent, [B, ...].
        point: The accuracies in percent, [...].
        n: The number of images, or an array of numbers that broadcasts to `point`.
    """
    uniform = rng.spawn(1)[0].random((len(draws), *(1,) * point.ndim))
    distance = 100 * (1 - uniform ** (1 / np.asarray(n)))
    is_certain = (point == 0) | (point == 100)
    return np.where(is_certain, np.abs(point - distance), draws)
