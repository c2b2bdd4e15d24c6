"""Retrieval: images taken from a generator's own training data instead of generated ones, in the same numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np

from genrobust.core import ImageSet, Subset, UserError, fair_order
from genrobust.data.withholding import list_cells


def retrieve(pool: ImageSet, wanted: ImageSet, match_styles: bool = True) -> Subset:
    """Choose as many images of `pool` a class, and a style where `match_styles`, as `wanted` holds.

    Images are taken in the pool's `fair_order`. A style that runs short in a class is filled up with the class's other
    images, and a class that runs short stays short, so the result may be smaller than `wanted`, never larger.

    Raises:
        UserError: The pool has no image of a class that is wanted.
    """
    order, styles = fair_order(pool), list(pool.styles)
    labels = np.asarray(pool.labels)[order]
    quota = Counter(list_cells(wanted))
    taken: list[int] = []
    for label, count in sorted(Counter(np.asarray(wanted.labels).tolist()).items()):
        in_class = order[labels == label].tolist()
        if not in_class:
            raise UserError(f"nothing to retrieve for class number {label}: {pool.name} holds no image of it")
        chosen: list[int] = []
        if match_styles:
            left = {style: n for (wanted_label, style), n in quota.items() if wanted_label == label}
            for index in in_class:
                if left.get(styles[index], 0) > 0:
                    left[styles[index]] -= 1
                    chosen.append(index)
        chosen_set = set(chosen)
        chosen += [i for i in in_class if i not in chosen_set][: count - len(chosen)]
        taken += chosen
    return Subset(pool, np.sort(np.asarray(taken, dtype=np.int64)), "retrieved")


def filled_quotas(chosen: ImageSet, wanted: ImageSet) -> float:
    """Return the share of `wanted`, from 0 to 1, for which `chosen` has an image of the same class and style."""
    return (Counter(list_cells(chosen)) & Counter(list_cells(wanted))).total() / len(wanted)
