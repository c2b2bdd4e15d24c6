"""FID, KID, precision and recall against the same computed anew with numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from genrobust.data import halves
from genrobust.data.quality.realism import KID_SUBSETS, NEIGHBORS, fidelity

rng = np.random.default_rng(7)
REAL = rng.normal(size=(90, 6)).astype(np.float32)
GENERATED = (0.8 * rng.normal(size=(70, 6)) + 0.5).astype(np.float32)


def fid_of(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    means = a.mean(0) - b.mean(0)
    return float(means @ means + np.trace(one + other - 2 * sqrtm(one @ other).real))


def kid_of(a: np.ndarray, b: np.ndarray, seed: int) -> float:
    """The unbiased estimate of Binkowski et al. 2018, over subsets of half the smaller set."""
    draw = np.random.RandomState(seed)
    size = min(len(a), len(b)) // 2
    found = []
    for _ in range(KID_SUBSETS):
        x = a.astype(np.float64)[draw.choice(len(a), size, replace=False)]
        y = b.astype(np.float64)[draw.choice(len(b), size, replace=False)]
        xx, yy, xy = ((p @ q.T / p.shape[1] + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
        within = sum((k.sum() - np.trace(k)) / (size * (size - 1)) for k in (xx, yy))
        found.append(within - 2 * xy.mean())
    return float(np.mean(found))


def share_inside(points: np.ndarray, of: np.ndarray) -> float:
    """The share of `points` that lie in the ball round one of `of` that reaches to its third neighbor."""
    radii = np.sort(cdist(of, of), axis=1)[:, NEIGHBORS]
    return float((cdist(points, of) <= radii).any(axis=1).mean())


def test_every_metric_is_that_of_an_independent_computation() -> None:
    found = fidelity(GENERATED, REAL)
    assert found["fid"] == pytest.approx(fid_of(GENERATED, REAL), abs=1e-6)
    assert found["kid"] == pytest.approx(kid_of(GENERATED, REAL, 0), abs=1e-6)
    assert found["precision"] == pytest.approx(share_inside(GENERATED, REAL), abs=1e-6)
    assert found["recall"] == pytest.approx(share_inside(REAL, GENERATED), abs=1e-6)
    assert found["precision"] != found["recall"]  # else the test could not tell them apart


def test_halves_share_each_class_evenly() -> None:
    labels = np.array([0, 1, 1, 0, 1, 1, 0, 0, 2, 2])
    one, other = halves(labels)
    assert sorted([*one, *other]) == list(range(10))
    assert np.bincount(labels[one]).tolist() == np.bincount(labels[other]).tolist() == [2, 2, 1]
