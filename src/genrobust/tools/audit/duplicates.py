"""Copies: inside a dataset, of real images, of test images (leaks), and of what the generator was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import binomtest, fisher_exact

from genrobust.core import Advance, KeptParts, UserError, no_progress
from genrobust.data import NEAR, Neighbors, nearest
from genrobust.tools.audit.results import Duplicates, Memorization, NearPair

MAX_PAIRS = 24  # nearest pairs that are kept, for a reader to look at
# The threshold is this quantile of the baseline distances; a larger share of generated images below it says that some
# were drawn from memory. The baseline: unseen images, or else training images without near copies (an artist's variants
# of a design would raise the rate of close pairs).
EXPECTED = 0.05
TAIL = 0.025  # the level of the one-sided test, as that of a 95 % interval's end
SAMPLE = 2000  # training images, evenly through the set, whose own nearest neighbors set the measure


def compare(
    name: str,
    frames: np.ndarray,
    sha256: Sequence[str],
    other_frames: np.ndarray,
    other_sha256: Sequence[str],
    *,
    itself: bool = False,
    parts: KeptParts | None = None,
    advance: Advance = no_progress,
) -> tuple[Duplicates, Neighbors]:
    """Find the copies among N images, frames uint8 [N, 72, 64], of the M images called `name`, and all neighbors.

    With `itself` both are the same set: an image is no copy of itself, and both of a pair are counted. `parts` and
    `advance` are as for `nearest`.
    """
    neighbors = nearest(frames, other_frames, itself=itself, parts=parts, advance=advance)
    exact = _exact_copies(sha256, other_sha256, itself)
    near = [i for i in np.flatnonzero(neighbors.distance < NEAR).tolist() if i not in exact]
    pairs = [NearPair(i, other, 0.0, True, False) for i, other in exact.items()]
    pairs += [
        NearPair(i, int(neighbors.index[i]), float(neighbors.distance[i]), False, bool(neighbors.mirrored[i]))
        for i in np.argsort(neighbors.distance, kind="stable").tolist()
        if i not in exact
    ]
    duplicates = Duplicates(
        against=name,
        size=len(other_sha256),
        exact=len(exact),
        near=len(near),
        median=float(np.median(neighbors.distance)),
        pairs=tuple(_unique_pairs(pairs) if itself else pairs[:MAX_PAIRS]),
        flagged=tuple(sorted([*exact, *near])),
    )
    return duplicates, neighbors


def memorization(
    generated: Neighbors,
    training_frames: np.ndarray,
    unseen: Neighbors | None = None,
    advance: Advance = no_progress,
) -> Memorization:
    """Test whether generated images lie nearer to the generator's training images than unseen ones do.

    Without unseen images, the baseline is the distance from each training image to its nearest other training image.

    Args:
        generated: The nearest training image of each generated image.
        training_frames: uint8 [M, 72, 64].
        unseen: The nearest training image of each unseen image; None if there are none.
        advance: Called with the number of training images that are done.

    Raises:
        UserError: All unseen images are near copies of training images, so that there is no baseline.
    """
    if unseen is not None:
        baseline = unseen.distance
    else:
        places = np.arange(len(training_frames))
        sample = np.unique(np.linspace(0, places[-1], min(SAMPLE, len(places))).astype(int))
        # nearest(itself=True) skips equal indices, so the sample must be the head of the pool
        pool = training_frames[np.concatenate([sample, np.setdiff1d(places, sample)])]
        baseline = nearest(training_frames[sample], pool, itself=True, advance=advance).distance
    # an unseen image that is in the training images was not unseen
    baseline = baseline[baseline >= NEAR]
    n_baseline, n = len(baseline), len(generated.distance)
    if not n_baseline and unseen is not None:
        raise UserError("--unseen: all of its images are near copies of --trained-on: name others")
    threshold, expected = (float(np.quantile(baseline, EXPECTED)), EXPECTED) if n_baseline else (NEAR, 0.0)
    count, n_baseline_near = (int((distance < threshold).sum()) for distance in (generated.distance, baseline))
    # the threshold is as uncertain as the images that set it are few
    table = [[count, n - count], [n_baseline_near, n_baseline - n_baseline_near]]
    is_above = fisher_exact(table, alternative="greater").pvalue < TAIL if n_baseline else count > 0
    interval = binomtest(count, n).proportion_ci(0.95, "exact")
    return Memorization(
        n=n,
        count=count,
        share=count / n,
        lo=float(interval.low),
        hi=float(interval.high),
        threshold=threshold,
        expected=expected,
        unique=n_baseline if unseen is None else 0,
        above_expected=bool(is_above),
        unseen=0 if unseen is None else n_baseline,
    )


def _exact_copies(sha256: Sequence[str], others: Sequence[str], itself: bool) -> dict[int, int]:
    """Return the images whose pixels are another's, each with the first such."""
    places: dict[str, list[int]] = {}
    for place, value in enumerate(others):
        places.setdefault(value, []).append(place)
    copies = {}
    for index, value in enumerate(sha256):
        same = [p for p in places.get(value, [])[:2] if not (itself and p == index)]
        if same:
            copies[index] = same[0]
    return copies


def _unique_pairs(pairs: Sequence[NearPair]) -> list[NearPair]:
    """Return the first MAX_PAIRS pairs of a set with itself, each two images once."""
    seen: dict[tuple[int, int], NearPair] = {}
    for pair in pairs:
        first, second = sorted((pair.index, pair.other))
        seen.setdefault((first, second), replace(pair, index=first, other=second))
        if len(seen) == MAX_PAIRS:
            break
    return list(seen.values())
