"""Degrees of freedom of Student's t for the spread of bootstrap replicates and of seeds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from genrobust.robustness.image_groups import group_weights


def variance_of_mean(values: np.ndarray) -> list[tuple[float, float]]:
    """Variance of the mean of `values` [S], one of each seed, and its degrees of freedom. Empty for one seed."""
    count = len(values)
    if count < 2:
        return []
    return [(float(values.var(ddof=1)) / count, count - 1)]


def replicate_variance(draws: np.ndarray) -> float:
    """Variance of replicates without their NaNs, which are resamples without any image to score."""
    return float(np.nanvar(draws))


def freedom_of_sum(*parts: tuple[float, float]) -> float:
    """Degrees of freedom of a sum, from the variance and the freedom of each part (Satterthwaite, 1946)."""
    total = sum(variance for variance, _ in parts)
    weighted = sum(variance**2 / freedom for variance, freedom in parts)
    return total**2 / weighted if weighted else np.inf


def carried_freedom(draws: np.ndarray, shares: Mapping[str, float], rest: float) -> float:
    """Degrees of freedom of replicates over groups, counted by the groups that carry the spread.

    The contribution of a group is its share times its deviation from the mean of the groups. Deviations are the slopes
    of the least-squares fit of the replicates to the shares that groups have in each replicate. The freedom is the
    squared sum of the squared contributions over the sum of their fourth powers: if 2 of 24 groups carry everything,
    it is 2. The square of one deviation varies more than the variance it estimates, which makes the result smaller;
    in simulations, intervals then cover as often as they promise (tests/robustness/test_image_groups.py).

    Args:
        draws: [B].
        shares: The share of the images that each group has. Empty if the replicates are over images.
        rest: The freedom of the spread that the fit does not explain, for example of baseline models.
    """
    if not shares or len(draws) <= 2 * len(shares) or np.isnan(draws).any():
        return np.inf
    drawn_shares, projection = _fit_to_shares(tuple(shares.items()), len(draws))
    slopes = projection @ draws
    total = replicate_variance(draws)
    explained = min(replicate_variance(drawn_shares @ slopes), total)
    share = np.array(list(shares.values()))
    deviations = slopes - share @ slopes / share.sum()
    squares = (share * deviations) ** 2
    if not squares.any():
        return np.inf
    counted = float(squares.sum()) ** 2 / float((squares**2).sum())
    return freedom_of_sum((explained, counted), (total - explained, rest))


@lru_cache(maxsize=8)
def _fit_to_shares(shares: tuple[tuple[str, float], ...], bootstrap: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each group in each replicate, [B, G], and the matrix [G, B] that fits replicates to them."""
    names = tuple(name for name, _ in shares)
    weights = group_weights(names, bootstrap) * np.array([share for _, share in shares])
    drawn = weights / weights.sum(axis=1, keepdims=True)
    centered = drawn - drawn.mean(axis=0)
    # For many groups, far faster than numpy's pinv. Rows sum to 1, so one direction is only rounding.
    values, vectors = np.linalg.eigh(centered.T @ centered)
    kept = values > 1e-12 * values[-1]
    projection = (vectors[:, kept] / values[kept]) @ (vectors[:, kept].T @ centered.T)
    return drawn, projection
