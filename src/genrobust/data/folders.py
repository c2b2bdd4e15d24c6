"""Images in class folders, and in what holds images like them, and a part of them that is held back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from genrobust.core import ImageSet, Subset, UserError, fair_in_kinds, reading, some_of
from genrobust.data.classes import FolderClasses
from genrobust.data.file_list import ListedImages
from genrobust.data.grouping import APART, Names, names_by
from genrobust.data.stored import StoredImages, class_folders
from genrobust.recipe import ImageRule

HELD_OUT = 0.1  # the share of each class


def open_images(
    name: str,
    stored: StoredImages,
    classes: FolderClasses,
    same_class: Mapping[str, str] | None = None,
    *,
    by_name: bool = False,
) -> ListedImages:
    """Return stored images with the labels of `classes`; those in folders STYLE/CLASS with their styles.

    Raises:
        UserError: A group means no class, two groups mean the same class, a class folder lies in another, or no image
            is left.
    """
    stored, styles = by_style(stored, classes, same_class or {})
    labels: dict[str, tuple[int]] = {}
    for style in dict.fromkeys(styles.get(group) for group in stored.groups):  # which has each class once
        groups = [group for group in stored.groups if styles.get(group) == style]
        labels |= classes.labels_of(stored.path, groups, same_class or {}, stored.named)
    if stored.groups and not labels:
        raise UserError(
            f"{name}: {stored.path} has no training class, only {some_of(stored.groups, 3)}: leave this set out, or "
            "change data.classes or data.same_class"
        )
    return ListedImages(name, stored.listing(labels, classes.folders), labels, by_name=by_name, styles=styles)


def by_style(
    stored: StoredImages, classes: FolderClasses, same_class: Mapping[str, str]
) -> tuple[StoredImages, dict[str, str]]:
    """Return folders STYLE/CLASS, none of which is called as a class, as their class folders, and the style of each.

    Others, and what is no folder, are returned as they are, without styles. A style that `same_class` leaves out is
    none.

    Raises:
        UserError: A folder cannot be read, or images lie beside the class folders of a style.
    """

    def is_class(name: str) -> bool:
        return name in same_class or classes.knows(name)

    left_out = [name for name in stored.groups if same_class.get(name) == ""]  # be it a class or a style
    others = [name for name in stored.groups if name not in left_out]
    if stored.listed is not None or any(map(is_class, others)):
        return stored, {}
    inner: dict[str, list[str]] = {}
    for style in others:
        with reading(f"the folder {stored.path / style}"):
            if any(is_class(entry.name) for entry in (stored.path / style).iterdir() if entry.is_dir()):
                inner[style] = [folder.name for folder in class_folders(stored.path / style)]
    styles = {f"{style}/{name}": style for style, names in inner.items() for name in names}
    named = {f"{style}/{name}": name for style, names in inner.items() for name in names}
    groups = (*named, *(group for group in stored.groups if group not in inner))
    return (replace(stored, groups=groups, named=named), styles) if inner else (stored, {})


def kept_together(images: ImageSet, rule: ImageRule | None) -> Names | None:
    """Return the name of each image by the `rule` of APART. Images of one name are held out together."""
    return None if rule is None else names_by(APART, images.name, images, rule)


def hold_back(train: ImageSet, share: float, together: Names | None = None) -> tuple[ImageSet, Subset]:
    """Split off a share of each class and style, at least one image of two or more; of a share of 0, none.

    Those held back are the first of them in a fair order, so that every run, of whatever seed, holds back the
    same. Images of one name in `together` stay together, on the side of the first: more than the share where
    each is larger than that. Train keeps some images of each class and style. Returns train without those held back,
    and them.

    Raises:
        UserError: Nothing can be held back.
    """
    if share == 0:
        return train, Subset(train, (), "val")
    held, rank, order = np.zeros(len(train), dtype=bool), np.empty(len(train), dtype=np.int64), fair_in_kinds(train)
    rank[order] = np.arange(len(train))
    if together is not None:
        _, which = np.unique([name or f"/{place}" for place, name in enumerate(together)], return_inverse=True)
        first = np.full(which.max() + 1, len(train))
        np.minimum.at(first, which, rank)
        rank = first[which]  # of the first of those that stay together
    styles, style = np.unique(train.styles, return_inverse=True)
    kinds, leader = train.labels * len(styles) + style, order[rank]
    own = np.flatnonzero(kinds == kinds[leader])
    by_kind = own[np.lexsort((rank[own], kinds[own]))]
    for of_kind in np.split(by_kind, np.flatnonzero(np.diff(kinds[by_kind])) + 1):
        quota = held_out(len(of_kind), share)
        _, which, sizes = np.unique(rank[of_kind], return_inverse=True, return_counts=True)
        too_large = np.where(sizes > quota, sizes, 0)[which]  # these come last, the smallest first
        of_kind = of_kind[np.lexsort((rank[of_kind], too_large))]
        ranks = rank[of_kind]
        before = np.maximum.accumulate(np.where(np.diff(ranks, prepend=-1) != 0, np.arange(len(ranks)), 0))
        held[of_kind] = (before < quota) & (ranks != ranks[-1])
    held = held[leader]
    for kind in np.setdiff1d(kinds, kinds[~held]):  # all its images belong together with others that are held back
        held[rank == rank[kinds == kind].max()] = False
    if not held.any():
        raise UserError(
            f"none of {train.name} can be held back for validation: each class is one image, or one group of images "
            "that belong together: add images, give data.val, or change the rule of the groups"
        )
    rest, val = Subset(train, np.flatnonzero(~held)), Subset(train, np.flatnonzero(held), "val")
    rest.even = val.even = train.even and together is None  # what has large groups stands first in the rest
    return rest, val


def held_out(images: int, share: float = HELD_OUT) -> int:
    """Return how many of the `images` of a class `hold_back` holds back."""
    return min(images - 1, max(1, round(share * images)))
