"""Intervals that are valid after every label, for the difference of two classifiers on images without labels.

Only images on which the two predict different classes can change the difference of their accuracies. These are
labeled in random order. After each label the interval may be looked at, and labeling may stop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

# The probability that all intervals of one order of labeling hold the true difference.
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Labeled:
    """Counts of labeled images on which two classifiers predict different classes.

    Attributes:
        better: Images on which only the first classifier is right.
        worse: Images on which only the second is right.
        neither: Images on which both are wrong.
        differing: All images on which they predict different classes, labeled or not.
    """

    better: int
    worse: int
    neither: int
    differing: int

    @property
    def count(self) -> int:
        """The number of labeled images."""
        return self.better + self.worse + self.neither


def interval_at_every_look(labeled: Labeled, level: float = LEVEL) -> tuple[int, int]:
    """Bound the number of images by which one classifier is ahead of another, among the images on which they differ.

    This is the prior-posterior-ratio confidence sequence for sampling without replacement (Waudby-Smith and Ramdas,
    2020), with three outcomes and a uniform prior. All intervals of one random order hold the true difference together
    with a probability of at least `level`. The interval shrinks to the true difference when all images are labeled.

    Returns:
        The lowest and the highest number of right images of the first classifier minus those of the second.
    """
    unlabeled = labeled.differing - labeled.count
    seen = labeled.better - labeled.worse
    # Each composition of the images into better, worse and neither has the same prior probability.
    log_prior = -np.log((labeled.differing + 1) * (labeled.differing + 2) / 2)
    differences = np.arange(-unlabeled, unlabeled + 1)
    possible = differences[_log_posterior(labeled, differences) > log_prior + np.log(1 - level)]
    return seen + int(possible[0]), seen + int(possible[-1])


def _log_posterior(labeled: Labeled, differences: np.ndarray) -> np.ndarray:
    """Return the log probability of the likeliest composition of unlabeled images, for each difference in them [D].

    The posterior of the counts is a Dirichlet-multinomial distribution. For one difference, its logarithm is concave in
    the number of better images, so bisection finds the largest value.
    """
    unlabeled = labeled.differing - labeled.count

    def log_weight(count: np.ndarray, labeled_count: int) -> np.ndarray:
        return gammaln(count + labeled_count + 1) - gammaln(count + 1) - gammaln(labeled_count + 1)

    def log_probability(better: np.ndarray) -> np.ndarray:
        worse = better - differences
        neither = unlabeled - better - worse
        compositions = log_weight(better, labeled.better) + log_weight(worse, labeled.worse)
        return compositions + log_weight(neither, labeled.neither)

    low = np.maximum(differences, 0)
    high = (unlabeled + differences) // 2
    while (low < high).any():
        middle = (low + high) // 2
        # At the highest count there is no next one, and bisection has ended.
        following = np.minimum(middle + 1, high)
        is_rising = log_probability(following) > log_probability(middle)
        low = np.where(is_rising, following, low)
        high = np.where(is_rising, high, middle)
    total = labeled.count + 3
    log_all = gammaln(unlabeled + total) - gammaln(unlabeled + 1) - gammaln(total)
    return log_probability(low) - log_all
