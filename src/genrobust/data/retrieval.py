"""Retrieval: take real images instead of generated ones, in the same numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np

from genrobust.core import ImageSet, Subset, UserError, fair_order
from genrobust.data.withholding import list_cells


def retrieve(pool: ImageSet, wanted: ImageSet, match_styles: bool = True) -> Subset:
    """Choose as many images of each class from `pool` as `wanted` has, with the same styles if `match_styles`.

    Images are taken in the `fair_order` of the pool. If a style runs out in a class, other images of the class replace
    it. If a class runs out, it stays smaller. So the result is never larger than `wanted`.
    """
    order = fair_order(pool)
    labels = np.asarray(pool.labels)[order]
    images_per_cell = Counter(list_cells(wanted))
    taken: list[int] = []
    for label, count in sorted(Counter(np.asarray(wanted.labels).tolist()).items()):
        in_class = order[labels == label].tolist()
        if not in_class:
            raise UserError(f"nothing to retrieve for class number {label}: {pool.name} holds no image of it")
        chosen: list[int] = []
        if match_styles:
            quota = {style: n for (of_label, style), n in images_per_cell.items() if of_label == label}
            chosen = _fill_quota(pool, in_class, quota)
        already = set(chosen)
        others = [index for index in in_class if index not in already]
        taken += chosen + others[: count - len(chosen)]
    return Subset(pool, np.sort(np.asarray(taken, dtype=np.int64)), "retrieved")


def _fill_quota(pool: ImageSet, indices: list[int], quota: dict[str, int]) -> list[int]:
    """Take the first of `indices` in each style, up to its quota."""
    chosen: list[int] = []
    left = dict(quota)
    for index in indices:
        style = pool.styles[index]
        if left.get(style, 0) > 0:
            left[style] -= 1
            chosen.append(index)
    return chosen


def filled_quotas(chosen: ImageSet, wanted: ImageSet) -> float:
    """Return the share of `wanted`, from 0 to 1, for which `chosen` has an image of the same class and style."""
    matched = Counter(list_cells(chosen)) & Counter(list_cells(wanted))
    return matched.total() / len(wanted)
