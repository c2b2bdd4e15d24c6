"""Leaves images out of the sets of a study, such as images that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from genrobust.core import ImageSet, StudyData, Subset, UserError, some_of


@dataclass(frozen=True, slots=True)
class Broken:
    """Images of the set `name` that cannot be read and are left out: their `keys`, of `total`."""

    name: str
    keys: tuple[str, ...]
    total: int

    def __str__(self) -> str:
        number = f"{len(self.keys):,} of the {self.total:,} images of {self.name}"
        return f"{number} cannot be read, left out: {some_of(self.keys)}"


def without_broken(data: StudyData, broken_of: Callable[[ImageSet], Sequence[int]]) -> tuple[StudyData, list[Broken]]:
    """Leave the images that cannot be read out of all sets that are learned from, and describe them."""
    left: dict[str, ImageSet] = {}
    notices = []
    for key, images in data.learned.items():
        broken = broken_of(images)
        if broken:
            left[key] = leave_out(broken, data, key, images, "is broken: add others")
            keys = tuple(images.keys[place] for place in broken)
            notices.append(Broken(images.name, keys, len(images)))
    return data.replaced(left), notices


def leave_out(places: Collection[int], data: StudyData, key: str, images: ImageSet, why: str) -> Subset:
    """Return `images`, which are the set `key` of `data`, without the images at `places`."""
    left = Subset(images, np.setdiff1d(np.arange(len(images)), list(places)))
    if not len(left):
        raise UserError(f"data: every image of {images.name} {why}")
    if key == "train":
        gone = np.setdiff1d(images.labels, left.labels)
        if gone.size:
            raise UserError(f"data: every training image of {some_of(data.labels.names[k] for k in gone)} {why}")
    return left
