"""Copies: inside a dataset, of real images, of test images (leaks), and of what the generator was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genrobust.leaks import NEAR, Neighbors

MAX_PAIRS = 24  # nearest pairs that are kept, for a reader to look at
ITSELF = "itself"  # in place of another set
EXACT = 1e-6  # the distance below which two pictures do not differ: rounding


@dataclass(frozen=True, slots=True)
class NearPair:
    """Image `index` of the dataset and its nearest, image `other` of another set or of its own."""

    index: int
    other: int
    distance: float
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Copies that the dataset shares with the set `against`, of `size` images: its own, or another.

    `exact` and `near` count images of the dataset: those without a difference, and those with a small one. `pairs` are
    the nearest found, nearest first, also where they are no copies; `median` is the median distance to the nearest
    other image. Copies of a test set are leaks (`is_test`).
    """

    against: str
    is_test: bool
    size: int
    exact: int
    near: int
    median: float
    pairs: tuple[NearPair, ...]

    @property
    def copies(self) -> int:
        return self.exact + self.near


def duplicates(against: str, size: int, neighbors: Neighbors, is_test: bool = False) -> Duplicates:
    """Count the copies among images whose `neighbors` in the set `against`, of `size` images, are known."""
    exact = (neighbors.distance < EXACT) & ~neighbors.mirrored
    pairs: dict[frozenset[int] | int, NearPair] = {}
    for i in np.argsort(neighbors.distance, kind="stable").tolist():
        other = int(neighbors.index[i])
        two = frozenset((i, other)) if against == ITSELF else i  # the two of a pair are each other's nearest
        pairs.setdefault(two, NearPair(i, other, float(neighbors.distance[i]), bool(neighbors.mirrored[i])))
        if len(pairs) == MAX_PAIRS:
            break
    return Duplicates(
        against=against,
        is_test=is_test,
        size=size,
        exact=int(exact.sum()),
        near=int((neighbors.distance < NEAR).sum() - exact.sum()),
        median=float(np.median(neighbors.distance)),
        pairs=tuple(pairs.values()),
    )
