"""Resampling images, seeds and arms: intervals of means and of paired differences between arms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from genrobust.core import Score
from genrobust.robustness.accuracy import accuracy_score

TAILS = (2.5, 97.5)  # percentiles of a 95 % interval
AT_ONCE = 100  # resamples held in memory: 60 MB for 50,000 images
IN_MEMORY = 4_000_000  # counts of baselines held in memory, 32 MB: all resamples at once of up to 4,000 baselines
FEW = 5000  # distinct rows, of some ten thousand images, up to which a multinomial draw is the faster one
RESAMPLED_FROM = 3  # arms of a group, from which on they are resampled: two say too little about their spread
ANY = (-np.inf, np.inf)


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure of every arm and seed on one test set, with its bootstrap replicates.

    Replicate b resamples the same images (and baselines) for all arms and seeds, so that a difference of two arms
    within it is paired.

    Attributes:
        point: The values, [A, S], in the figure's unit; `draws` are the replicates, [B, A, S].
        over: What was resampled besides seeds ("images", "images and baselines").
        of: What the figure is a mean of ("mean of 3 shifts"), "" for one test set.
        bounds: What no arm's interval leaves.
        right: The right answers, int [A, S], of a proportion, whose interval for one checkpoint is then exact.
        outside: Which values extrapolate, bool [A, S]; None for none.
    """

    point: np.ndarray
    draws: np.ndarray
    n: int
    classes: int
    over: str
    of: str = ""
    bounds: tuple[float, float] = ANY
    right: np.ndarray | None = None
    outside: np.ndarray | None = None

    def arm(self, arm: int, seeds: np.ndarray) -> Score:
        """Return the mean over seeds of one arm. `seeds` [B, S] are the weights of `seed_weights`."""
        if self.right is not None and seeds.shape[1] == 1:
            exact = self.one(arm, 0)
            return replace(exact, method=f"{exact.method}; one seed")
        score = self._score(self.point[arm], self.draws[:, arm], seeds)
        outside = self.outside is not None and bool(self.outside[arm].any())
        return replace(score, lo=max(score.lo, self.bounds[0]), hi=min(score.hi, self.bounds[1]), extrapolated=outside)

    def difference(self, arm: int, reference: int, seeds: np.ndarray) -> Score:
        """Return `arm` minus `reference`, paired by image and seed, as a mean over seeds."""
        return self._score(
            self.point[arm] - self.point[reference], self.draws[:, arm] - self.draws[:, reference], seeds
        )

    def one(self, arm: int, seed: int) -> Score:
        """Return the score of one checkpoint: nothing but `over` is resampled."""
        if self.right is not None:
            return accuracy_score(int(self.right[arm, seed]), self.n, self.classes)
        lo, hi = interval(self.draws[:, arm, seed])
        outside = self.outside is not None and bool(self.outside[arm, seed])
        method = f"bootstrap 95 % over {self.over}"
        return Score(float(self.point[arm, seed]), lo, hi, self.n, self.classes, method, outside)

    def beyond(self, expected: np.ndarray, drawn: np.ndarray, over: str, outside: np.ndarray) -> Measured:
        """Return this accuracy minus the `expected` one, [A, S], with replicates `drawn` [B, A, S], in points."""
        return Measured(self.point - expected, self.draws - drawn, self.n, self.classes, over, outside=outside)

    def over_arms(self, arms: Sequence[int], minus: Sequence[int] | None = None) -> Measured:
        """Return the mean over `arms` as that of a single one; `minus` are the arms to subtract, one from each.

        From RESAMPLED_FROM arms on, a replicate resamples them, the same ones for every figure and every group of as
        many arms; below, the interval is that of just these arms.
        """
        own, count, resamples, outside = list(arms), len(arms), len(self.draws), self.outside
        point, draws = self.point[own], self.draws[:, own]
        if minus is not None:
            point, draws = point - self.point[list(minus)], draws - self.draws[:, list(minus)]
        words = f"{count} arm{'' if count == 1 else 's'}"
        over, shares = self.over, np.full((resamples, count), 1 / count)
        if count >= RESAMPLED_FROM:
            over = f"{over.replace(' and ', ', ')} and {words}"
            shares = seed_weights(count, resamples, np.random.default_rng([0, count]))
        return replace(
            self,
            point=point.mean(axis=0, keepdims=True),
            draws=np.einsum("bas,ba->bs", draws, shares)[:, None],
            over=over,
            of=f"{self.of} and {words}" if self.of else f"mean of {words}",
            bounds=self.bounds if minus is None else ANY,
            right=None,
            outside=None if outside is None or minus is not None else np.any(outside[own], axis=0, keepdims=True),
        )

    def _score(self, point: np.ndarray, draws: np.ndarray, seeds: np.ndarray) -> Score:
        lo, hi = interval((draws * seeds).sum(axis=1))
        method = f"bootstrap 95 % over {self.over}; one seed"
        if seeds.shape[1] > 1:
            method = f"bootstrap 95 % over {self.over.replace(' and ', ', ')} and {seeds.shape[1]} seeds"
        return Score(float(point.mean()), lo, hi, self.n, self.classes, f"{self.of}; {method}" if self.of else method)


def mean_of(parts: Sequence[Measured], of: str) -> Measured:
    """Return the unweighted mean of several test sets' figures, named `of`; replicate b averages the replicates b."""
    outside = [part.outside for part in parts if part.outside is not None]
    return Measured(
        point=np.mean([part.point for part in parts], axis=0),
        draws=np.mean([part.draws for part in parts], axis=0),
        n=sum(part.n for part in parts),
        classes=max(part.classes for part in parts),
        over=parts[0].over,
        of=of,
        bounds=parts[0].bounds,
        outside=np.any(outside, axis=0) if outside else None,
    )


def measure_accuracy(right: np.ndarray, classes: int, bootstrap: int, rng: np.random.Generator) -> Measured:
    """Return the accuracies in percent of `right`, bool [A, S, N], with replicates over images."""
    arms, seeds, n = right.shape
    columns = right.reshape(arms * seeds, n).T
    draws = resampled_means(columns, np.ones((n, 1), dtype=bool), bootstrap, rng).reshape(bootstrap, arms, seeds)
    point = 100 * right.mean(axis=2)
    return Measured(point, 100 * draws, n, classes, "images", bounds=(0, 100), right=right.sum(axis=2))


def resampled_means(columns: np.ndarray, members: np.ndarray, bootstrap: int, rng: np.random.Generator) -> np.ndarray:
    """Return means of `columns` over `bootstrap` resamples of the rows (images) with replacement: float [B, M].

    Args:
        columns: bool [N, M], what is right.
        members: bool [N, G], which images count in each of G groups, of M / G neighbouring columns each. A resample
            without any member of a group gives NaN in its columns.
    """
    per_group = columns.shape[1] // members.shape[1]
    counted = np.hstack([columns & np.repeat(members, per_group, axis=1), members])
    bits = np.packbits(counted, axis=1)  # compared as bytes: 20 times faster than numpy's unique rows
    words = np.ascontiguousarray(bits).view(np.dtype((np.void, bits.shape[1]))).ravel()
    _, first, place, counts = np.unique(words, return_index=True, return_inverse=True, return_counts=True)
    rows = counted[first].astype(np.float32)  # float32 counts exactly up to 2^24 images
    parts = [min(AT_ONCE, bootstrap - start) for start in range(0, bootstrap, AT_ONCE)]
    sums = np.concatenate([_counts(place, counts, part, rng).astype(np.float32) @ rows for part in parts])
    right, total = np.split(sums.astype(float), [columns.shape[1]], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return right / np.repeat(total, per_group, axis=1)


def _counts(place: np.ndarray, counts: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each distinct row comes in each resample: int [B, D].

    Equal rows are interchangeable, so a resample is one multinomial draw over the distinct rows: exact, and 10 to 100
    times faster than drawing images where distinct rows are few; where they are many, it is slower.
    """
    n, d = len(place), len(counts)
    if d <= FEW:
        return rng.multinomial(n, counts / n, size=resamples)
    return np.stack([np.bincount(place[rng.integers(0, n, n)], minlength=d) for _ in range(resamples)])


def baseline_counts(n: int, bootstrap: int) -> Iterator[np.ndarray]:
    """Yield how often each of `n` baselines comes in each resample, int [B', n], for `bootstrap` resamples in all."""
    rng, place, once = np.random.default_rng(0), np.arange(n), np.ones(n, dtype=np.int64)
    some = max(1, IN_MEMORY // n)
    for start in range(0, bootstrap, some):
        yield _counts(place, once, min(some, bootstrap - start), rng)


def image_counts(n: int, bootstrap: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield how often each of `n` images comes in each resample, float32 [B', n], for `bootstrap` resamples in all."""
    for start in range(0, bootstrap, AT_ONCE):
        some = range(min(AT_ONCE, bootstrap - start))
        yield np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in some]).astype(np.float32)


def seed_weights(seeds: int, bootstrap: int, rng: np.random.Generator) -> np.ndarray:
    """Return weights of the seeds, or of a group's arms, in each replicate: float [B, S], rows sum to 1.

    Seeds are resampled with replacement, and their deviations are scaled by sqrt(S / (S - 1)): with three seeds the
    plain bootstrap would understate the variance between seeds by a third (the rescaling of Rao and Wu, 1988). One seed
    has no variance to show, so its weights are 1.
    """
    if seeds == 1:
        return np.ones((bootstrap, 1))
    even = 1 / seeds
    counts = rng.multinomial(seeds, np.full(seeds, even), size=bootstrap)
    return even + (counts / seeds - even) * np.sqrt(seeds / (seeds - 1))


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Return the central 95 % of `draws` [B], without its NaNs."""
    lo, hi = np.nanpercentile(draws, TAILS)
    return float(lo), float(hi)
