"""Diversity: cases whose answer is known, and direct definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.linalg import logm
from scipy.spatial.distance import pdist

from genrobust.data import by_class, common_counts, first_of_each_class
from genrobust.data.quality.diversity import pairwise_distance, vendi_score

FEATURES = np.random.default_rng(2).normal(size=(9, 5))


def test_pairwise_distance_is_the_mean_over_pairs() -> None:
    assert pairwise_distance(FEATURES) == pytest.approx(pdist(FEATURES).mean())
    assert pairwise_distance(np.ones((4, 3))) == 0


@pytest.mark.parametrize("rows", [FEATURES, FEATURES[:3]], ids=["more rows than features", "fewer"])
def test_vendi_score_is_exp_of_the_von_neumann_entropy(rows: np.ndarray) -> None:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    kernel = unit @ unit.T / len(rows) + 1e-14 * np.eye(len(rows))
    assert vendi_score(rows) == pytest.approx(math.exp(-np.trace(kernel @ logm(kernel)).real), rel=1e-6)


def test_vendi_score_counts_different_images() -> None:
    assert vendi_score(np.eye(4)) == pytest.approx(4)
    assert vendi_score(np.repeat(np.eye(4), 3, axis=0)) == pytest.approx(4)
    assert vendi_score(np.ones((5, 3))) == pytest.approx(1)


def test_sets_are_compared_at_the_same_number_of_images() -> None:
    mine, theirs = np.array([0, 0, 1, 0, 2]), np.array([1, 0, 0, 1])
    counts = common_counts(mine, theirs)
    assert counts == {0: 2, 1: 1}
    assert first_of_each_class(mine, counts).tolist() == [0, 1, 2]
    assert first_of_each_class(theirs, counts).tolist() == [0, 1, 2]
    found = by_class(FEATURES[:5], mine, [0])
    assert found[0] == (pairwise_distance(FEATURES[[0, 1, 3]]), vendi_score(FEATURES[[0, 1, 3]]))
