"""Diversity: how much the images of a class differ from each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch

# Rows whose distances to all others are in memory at once. A class may have hundreds of thousands of images.
ROWS = 1000


def pairwise_distance(features: np.ndarray) -> float:
    """Return the mean Euclidean distance of two different rows of `features`, float [N, D]; N is 2 or more."""
    rows = torch.from_numpy(np.asarray(features, dtype=np.float64))
    total = sum(float(torch.cdist(block, rows).sum()) for block in rows.split(ROWS))
    return total / (len(rows) * (len(rows) - 1))


def vendi_score(features: np.ndarray) -> float:
    """Return the effective number of different images among the rows of `features`, float [N, D]: from 1 to N.

    exp of the von Neumann entropy of K / N, where K holds the cosines of the rows (Friedman and Dieng 2023).
    """
    rows = np.asarray(features, dtype=np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    count, width = rows.shape
    # Both matrices have the same eigenvalues except for zeros. Take the smaller one.
    kernel = rows @ rows.T if count <= width else rows.T @ rows
    shares = np.linalg.eigvalsh(kernel / count)
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def first_of_each_class(labels: np.ndarray, counts: dict[int, int]) -> np.ndarray:
    """Return the indices, ascending, of the first `counts[k]` images of each class k: a matched sample."""
    indices: list[np.ndarray] = [np.flatnonzero(labels == label)[:count] for label, count in counts.items()]
    if indices:
        return np.sort(np.concatenate(indices))
    return np.zeros(0, dtype=np.int64)


def common_counts(*labels: np.ndarray) -> dict[int, int]:
    """Return for each class the number of images that all sets have. Classes that a set lacks are left out.

    Diversity grows with the number of images, so sets are compared at equal numbers.

    Args:
        labels: The labels of each set, int [N].
    """
    counts = [Counter(of_set.tolist()) for of_set in labels]
    common = counts[0]
    for of_set in counts[1:]:
        common = common & of_set
    return dict(sorted(common.items()))


def by_class(features: np.ndarray, labels: np.ndarray, classes: Iterable[int]) -> dict[int, tuple[float, float]]:
    """Return `pairwise_distance` and `vendi_score` of each of `classes`, which have two images or more."""
    scores: dict[int, tuple[float, float]] = {}
    for label in classes:
        rows = features[labels == label]
        scores[label] = (pairwise_distance(rows), vendi_score(rows))
    return scores
