"""Copies: inside a dataset, of real images, of test images (leaks), and of what the generator was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import binomtest, fisher_exact

from genrobust.audit.fingerprint import NEAR, Neighbors, nearest
from genrobust.core import Advance, Duplicates, KeptParts, Memorization, NearPair, UserError

SHOWN = 24  # nearest pairs that are kept, to be looked at
# This share of unseen images of the same kind as the training data lies nearer to it than the threshold; a larger share
# of the generated ones says that some were drawn from memory. Without unseen images, training images stand for them,
# those with a copy aside: one hand's variants of a design would make any copy look usual.
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
    advance: Advance = lambda *counted, **more: None,
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
        name,
        len(other_sha256),
        len(exact),
        len(near),
        float(np.median(neighbors.distance)),
        tuple(_unique_pairs(pairs) if itself else pairs[:SHOWN]),
        tuple(sorted([*exact, *near])),
    )
    return duplicates, neighbors


def memorization(
    generated: Neighbors,
    training_frames: np.ndarray,
    unseen: Neighbors | None = None,
    advance: Advance = lambda *counted, **more: None,
) -> Memorization:
    """Test whether generated images lie nearer to the generator's training images than unseen ones do.

    Without unseen images it is: than those lie to each other.

    Args:
        generated: The nearest training images of every generated one, and `unseen` those of every unseen one.
        training_frames: uint8 [M, 72, 64].
        advance: Called with the number of training images that are done.

    Raises:
        UserError: All unseen images are near copies of training images, so that they say nothing of what is usual.
    """
    if unseen is not None:
        usual_distances = unseen.distance
    else:
        places = np.arange(len(training_frames))
        sample = np.unique(np.linspace(0, places[-1], min(SAMPLE, len(places))).astype(int))
        # the sample comes first in the pool, so that an image's own place in it is its place in the sample
        pool = training_frames[np.concatenate([sample, np.setdiff1d(places, sample)])]
        usual_distances = nearest(training_frames[sample], pool, itself=True, advance=advance).distance
    # an unseen image that is in the training images was not unseen
    usual_distances = usual_distances[usual_distances >= NEAR]
    known, n = len(usual_distances), len(generated.distance)
    if not known and unseen is not None:
        raise UserError("--unseen: all of its images are near copies of --train-of-generator: name others")
    threshold, expected = (float(np.quantile(usual_distances, EXPECTED)), EXPECTED) if known else (NEAR, 0.0)
    count, usual = (int((distance < threshold).sum()) for distance in (generated.distance, usual_distances))
    # the threshold is as uncertain as the images that set it are few
    table = [[count, n - count], [usual, known - usual]]
    above = fisher_exact(table, alternative="greater").pvalue < TAIL if known else count > 0
    interval = binomtest(count, n).proportion_ci(0.95, "exact")
    lo, hi = float(interval.low), float(interval.high)
    unique, never_seen = (known, 0) if unseen is None else (0, known)
    return Memorization(n, count, count / n, lo, hi, threshold, expected, unique, bool(above), never_seen)


def _exact_copies(sha256: Sequence[str], others: Sequence[str], itself: bool) -> dict[int, int]:
    """The images whose pixels are another's, each with the first such."""
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
    """The first SHOWN pairs of a set with itself, each two images once."""
    seen: dict[tuple[int, int], NearPair] = {}
    for pair in pairs:
        first, second = sorted((pair.index, pair.other))
        seen.setdefault((first, second), replace(pair, index=first, other=second))
        if len(seen) == SHOWN:
            break
    return list(seen.values())
