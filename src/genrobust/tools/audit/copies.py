"""Count copies: inside a dataset, of real images, of test images (leaks), and of the generator's training images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genrobust.leaks import NEAR, Neighbors

MAX_PAIRS = 24  # nearest pairs to show
ITSELF = "itself"  # name of the dataset as the other set


@dataclass(frozen=True, slots=True)
class NearPair:
    """Image `index` of the dataset, and the nearest image `other` of another set or of the dataset."""

    index: int
    other: int
    distance: float
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Images of the dataset that are copies of images in another set, or in the dataset itself.

    Attributes:
        against: Name of the other set.
        is_test: Whether it is a test set: then copies are leaks.
        size: Number of its images.
        exact: Number of images without any difference.
        near: Number of images with a small difference.
        median: Median distance to the nearest other image.
        pairs: The nearest pairs, nearest first, also if they are no copies.
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
    """Count the images of a dataset that are copies.

    Args:
        neighbors: The nearest image of each in the set `against`, of `size` images.
    """
    is_copy = neighbors.distance < NEAR
    is_exact = neighbors.identical & is_copy
    exact = int(is_exact.sum())
    return Duplicates(
        against=against,
        is_test=is_test,
        size=size,
        exact=exact,
        near=int(is_copy.sum()) - exact,
        median=float(np.median(neighbors.distance)),
        pairs=_nearest_pairs(neighbors, within=against == ITSELF),
    )


def _nearest_pairs(neighbors: Neighbors, within: bool) -> tuple[NearPair, ...]:
    """Return the nearest pairs. `within` one set, two images may be each other's nearest: that is one pair."""
    pairs: dict[frozenset[int] | int, NearPair] = {}
    for index in np.argsort(neighbors.distance, kind="stable").tolist():
        other = int(neighbors.index[index])
        pair = frozenset((index, other)) if within else index
        distance = float(neighbors.distance[index])
        pairs.setdefault(pair, NearPair(index, other, distance, bool(neighbors.mirrored[index])))
        if len(pairs) == MAX_PAIRS:
            break
    return tuple(pairs.values())
