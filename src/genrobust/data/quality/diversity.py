"""Diversity: how much the images of a class differ from each other."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

ROWS = 1000  # whose distances to all others are held at once: a class may have hundreds of thousands of images


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
    kernel = rows @ rows.T if count <= width else rows.T @ rows  # the two have the same eigenvalues beyond zeros
    shares = np.linalg.eigvalsh(kernel / count)
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def first_of_each_class(labels: np.ndarray, counts: dict[int, int]) -> np.ndarray:
    """Find the indices, ascending, of the first `counts[k]` images of each class k: a matched sample."""
    indices: list[np.ndarray] = [np.flatnonzero(labels == label)[:count] for label, count in counts.items()]
    return np.sort(np.concatenate(indices)) if indices else np.zeros(0, dtype=np.int64)


def common_counts(*labels: np.ndarray) -> dict[int, int]:
    """Count the images of each class that all of `labels` have; classes that one lacks are left out.

    Diversity grows with the number of images, so sets are compared at the same.
    """
    classes = sorted(set.intersection(*({int(v) for v in np.unique(set_labels)} for set_labels in labels)))
    return {label: min(int((set_labels == label).sum()) for set_labels in labels) for label in classes}


def by_class(features: np.ndarray, labels: np.ndarray, classes: Iterable[int]) -> dict[int, tuple[float, float]]:
    """Return `pairwise_distance` and `vendi_score` of each of `classes`, which have two images or more."""
    by_label = {label: features[labels == label] for label in classes}
    return {label: (pairwise_distance(rows), vendi_score(rows)) for label, rows in by_label.items()}
