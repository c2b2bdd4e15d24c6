"""Intervals that are valid after every label: against all compositions one by one, and against known populations."""

from __future__ import annotations

from itertools import product
from math import exp, lgamma

import numpy as np
import pytest

from genrobust.robustness.sequential import Labeled, interval_at_every_look


def log_posterior(labeled: Labeled, left: tuple[int, int, int]) -> float:
    """The log probability of `left`, the unlabeled images of each outcome: a Dirichlet-multinomial distribution."""
    unlabeled = labeled.differing - labeled.count
    total = labeled.count + 3
    value = lgamma(total) + lgamma(unlabeled + 1) - lgamma(unlabeled + total)
    for count, seen in zip(left, (labeled.better, labeled.worse, labeled.neither), strict=True):
        value += lgamma(count + seen + 1) - lgamma(count + 1) - lgamma(seen + 1)
    return value


@pytest.mark.parametrize("counts", [(0, 0, 0, 7), (3, 0, 1, 9), (2, 5, 0, 14), (6, 1, 4, 30), (1, 1, 1, 4)])
def test_the_interval_holds_each_composition_that_lost_less_than_19_of_20_parts(counts: tuple[int, ...]) -> None:
    labeled = Labeled(*counts)
    unlabeled = labeled.differing - labeled.count
    prior = 2 / ((labeled.differing + 1) * (labeled.differing + 2))
    possible, total = [], 0.0
    for better, worse in product(range(unlabeled + 1), repeat=2):
        if better + worse <= unlabeled:
            posterior = exp(log_posterior(labeled, (better, worse, unlabeled - better - worse)))
            total += posterior
            if posterior > prior / 20:
                possible.append(labeled.better - labeled.worse + better - worse)
    assert total == pytest.approx(1)
    assert interval_at_every_look(labeled) == (min(possible), max(possible))


def test_nothing_is_known_before_the_first_label_and_everything_after_the_last() -> None:
    assert interval_at_every_look(Labeled(0, 0, 0, 50)) == (-50, 50)
    assert interval_at_every_look(Labeled(20, 8, 22, 50)) == (12, 12)
    assert interval_at_every_look(Labeled(0, 0, 0, 0)) == (0, 0)


@pytest.mark.parametrize("shares", [(0.5, 0.2, 0.3), (0.1, 0.1, 0.8), (0.9, 0.05, 0.05)])
def test_all_intervals_of_an_order_hold_the_truth_in_19_of_20_orders(shares: tuple[float, float, float]) -> None:
    population = np.repeat([0, 1, 2], [round(60 * share) for share in shares])
    truth = int((population == 0).sum() - (population == 1).sum())
    rng = np.random.default_rng(0)
    orders, missed = 100, 0
    for _ in range(orders):
        order = rng.permutation(population)
        looks = []
        for number in range(1, len(order) + 1):
            seen = np.bincount(order[:number], minlength=3).tolist()
            looks.append(interval_at_every_look(Labeled(*seen, differing=len(order))))
        missed += not all(low <= truth <= high for low, high in looks)
    assert missed <= orders / 20
