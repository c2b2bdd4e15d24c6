"""Copies: inside a dataset, of real images, of test images (leaks), and of what the generator was trained on."""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest, fisher_exact

from genrobust.core import UserError
from genrobust.data import NEAR, Neighbors
from genrobust.tools.audit.results import Duplicates, Memorization, NearPair

MAX_PAIRS = 24  # nearest pairs that are kept, for a reader to look at
ITSELF = "itself"  # in place of another set
EXACT = 1e-6  # the distance below which two pictures do not differ: rounding
# The threshold is this quantile of the distances of unseen images; a larger share of generated images below it says
# that some were drawn from memory.
EXPECTED = 0.05
TAIL = 0.025  # the level of the one-sided test, as that of a 95 % interval's end


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


def memorization(generated: Neighbors, unseen: Neighbors) -> Memorization:
    """Test whether generated images lie nearer to the generator's training images than unseen ones do.

    Args:
        generated: The nearest training image of each generated image.
        unseen: The nearest training image of each unseen image.

    Raises:
        UserError: All unseen images are near copies of training images, so that there is no baseline.
    """
    # an unseen image that is in the training images was not unseen
    baseline = unseen.distance[unseen.distance >= NEAR]
    if not len(baseline):
        raise UserError("--unseen: all of its images are near copies of --trained-on: name others")
    threshold, n = float(np.quantile(baseline, EXPECTED)), len(generated.distance)
    count, as_near = (int((distance < threshold).sum()) for distance in (generated.distance, baseline))
    # the threshold is as uncertain as the images that set it are few
    table = [[count, n - count], [as_near, len(baseline) - as_near]]
    interval = binomtest(count, n).proportion_ci(0.95, "exact")
    return Memorization(
        n=n,
        count=count,
        share=count / n,
        lo=float(interval.low),
        hi=float(interval.high),
        threshold=threshold,
        expected=EXPECTED,
        unseen=len(baseline),
        above_expected=bool(fisher_exact(table, alternative="greater").pvalue < TAIL),
    )
