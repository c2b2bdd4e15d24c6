"""Hold out a share of the training images for validation."""

from __future__ import annotations

import numpy as np

from genrobust.core import ImageSet, Subset, UserError, fair_in_kinds
from genrobust.data.grouping import APART, Names, names_by
from genrobust.recipe import ImageRule

HELD_OUT = 0.1  # default share of each class


def kept_together(images: ImageSet, rule: ImageRule | None) -> Names | None:
    """Return for each image the name of its group by the `rule` of APART. None without a rule."""
    if rule is None:
        return None
    return names_by(APART, images.name, images, rule)


def held_out(images: int, share: float = HELD_OUT) -> int:
    """Return how many of the `images` of a class `hold_back` holds out: at least one, and not all."""
    return min(images - 1, max(1, round(share * images)))


def hold_back(train: ImageSet, share: float, together: Names | None = None) -> tuple[ImageSet, Subset]:
    """Hold out a share of each class and style. Return the rest, and the images that are held out.

    The first images in a fair order are held out, so every run and every seed holds out the same. The rest keeps some
    images of each class and style. A share of 0 holds out none.

    Args:
        together: Names of groups of images that stay on one side, None for an image of no group. A group counts for the
            class and style of its first image. Groups larger than the share come last.
    """
    if share == 0:
        return train, Subset(train, (), "val")
    order = fair_in_kinds(train)
    rank = _rank(order, together)
    leader = order[rank]  # first image of the group of each image
    styles, style = np.unique(train.styles, return_inverse=True)
    kinds = train.labels * len(styles) + style  # a number for each class and style
    held = np.zeros(len(train), dtype=bool)
    in_own_kind = np.flatnonzero(kinds == kinds[leader])
    in_order = in_own_kind[np.lexsort((rank[in_own_kind], kinds[in_own_kind]))]
    kind_starts = np.flatnonzero(np.diff(kinds[in_order])) + 1
    for of_kind in np.split(in_order, kind_starts):
        held[_first_groups(of_kind, rank[of_kind], held_out(len(of_kind), share))] = True
    held = held[leader]
    # A kind may have lost all its images, because their groups count for other kinds. Take its last group back.
    for kind in np.setdiff1d(kinds, kinds[~held]):
        held[rank == rank[kinds == kind].max()] = False
    if not held.any():
        why = "each class is one image, or one group of images"
        raise UserError(f"none of {train.name} can be held back for validation: {why}: add images, or give data.val")
    rest = Subset(train, np.flatnonzero(~held))
    val = Subset(train, np.flatnonzero(held), "val")
    # In the rest, large groups come first.
    rest.even = val.even = train.even and together is None
    return rest, val


def _rank(order: np.ndarray, together: Names | None) -> np.ndarray:
    """Return the place of each image in the fair `order`, int64 [N]. A group has the place of its first image."""
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    if together is None:
        return rank
    # An image of no group is a group of its own. No file name begins with "/".
    names = [name or f"/{place}" for place, name in enumerate(together)]
    _, group = np.unique(names, return_inverse=True)
    first = np.full(group.max() + 1, len(order))
    np.minimum.at(first, group, rank)
    return first[group]


def _first_groups(images: np.ndarray, rank: np.ndarray, quota: int) -> np.ndarray:
    """Return the first whole groups of `images` that reach the `quota`, without the last group.

    Args:
        images: Places of the images of one kind, int64 [N].
        rank: Rank of the group of each, int64 [N].
    """
    _, group, sizes = np.unique(rank, return_inverse=True, return_counts=True)
    # Groups larger than the quota come last, the smallest of them first.
    too_large = np.where(sizes > quota, sizes, 0)[group]
    order = np.lexsort((rank, too_large))
    images, rank = images[order], rank[order]
    starts_group = np.diff(rank, prepend=-1) != 0
    images_before_group = np.maximum.accumulate(np.where(starts_group, np.arange(len(rank)), 0))
    return images[(images_before_group < quota) & (rank != rank[-1])]
