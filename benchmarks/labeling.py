"""How many labels `genrobust label` needs, and whether its intervals hold, on the labeled shifts of finished studies.

    python benchmarks/labeling.py RUNS RECIPE [KEY=VALUE ...] [--orders 10] [--every 1]

Each pair of arms on each shift is labeled in several random orders, with the true labels. "misses" counts the orders in
which an interval, at any look, did not hold the true difference: at most 5 % may. "decided" counts the orders that
ended before the last label. "labels" is the median number of labels until the sign was sure, in orders of images on
which the two arms differ, and in orders of all images. A pair that is never decided counts with all its images.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
from estimates import read_study
from side_by_side import table

from genrobust.core import Predictions
from genrobust.robustness import Labeled, interval_at_every_look

BETTER, WORSE, NEITHER = range(3)


def outcomes(first: Predictions, second: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Return the outcome of each image, int [N], and whether the two predict different classes, bool [N]."""
    ours = np.asarray(first.logits).argmax(axis=1)
    theirs = np.asarray(second.logits).argmax(axis=1)
    found = np.full(len(ours), NEITHER)
    found[(ours == first.labels) & (theirs != first.labels)] = BETTER
    found[(ours != first.labels) & (theirs == first.labels)] = WORSE
    return found, ours != theirs


def label(order: np.ndarray, every: int, to_the_end: bool) -> tuple[int, bool]:
    """Label images in an order. Return the labels until the sign was sure, and whether each interval held the truth.

    Args:
        order: The outcomes of the images, int [N].
        every: Labels between two looks.
        to_the_end: Look at the intervals after the decision, too.
    """
    truth = int((order == BETTER).sum() - (order == WORSE).sum())
    counts = [0, 0, 0]
    needed = len(order)
    holds = True
    for number, outcome in enumerate(order.tolist(), start=1):
        counts[outcome] += 1
        if number % every:
            continue
        low, high = interval_at_every_look(Labeled(counts[0], counts[1], counts[2], len(order)))
        holds = holds and low <= truth <= high
        if needed == len(order) and (low > 0 or high < 0):
            needed = number
            if not to_the_end:
                break
    return needed, holds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--orders", type=int, default=10, help="random orders of each pair and shift")
    parser.add_argument("--every", type=int, default=1, help="labels between two looks at the interval")
    options = parser.parse_args()
    study = read_study(options.runs, options.recipe, options.overrides)
    rng = np.random.default_rng(0)
    seed = study.seeds[0]
    rows = []
    for test in study.shifts:
        misses = decided = orders = 0
        differing: list[int] = []
        random: list[int] = []
        for first, second in combinations(study.arms, 2):
            found, differ = outcomes(study.predictions[first, seed, test], study.predictions[second, seed, test])
            for _ in range(options.orders):
                needed, holds = label(rng.permutation(found[differ]), options.every, to_the_end=True)
                misses += not holds
                decided += needed < differ.sum()
                orders += 1
                differing.append(needed)
                random.append(label(rng.permutation(found), options.every, to_the_end=False)[0])
        ratio = np.median(np.array(random) / np.maximum(1, differing))
        rows.append(
            [
                test,
                f"{len(found):,}",
                f"{misses} of {orders}",
                f"{decided} of {orders}",
                f"{np.median(differing):,.0f}",
                f"{np.median(random):,.0f}",
                f"{ratio:.1f}",
            ]
        )
    print(table(["shift", "images", "misses", "decided", "labels", "labels in random order", "ratio"], rows))


if __name__ == "__main__":
    main()
