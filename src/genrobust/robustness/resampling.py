"""Resampling images, seeds and arms: intervals of means and of paired differences between arms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from genrobust.core import Score, count
from genrobust.robustness.accuracy import accuracy_score, spread_of_sure
from genrobust.robustness.grouping import Groups, Resample, crowding, group_weights

TAILS = (2.5, 97.5)  # percentiles of a 95 % interval
LEAST = 20  # replicates: of fewer, none is expected outside of a 95 % interval
AT_ONCE = 100  # resamples held in memory: 60 MB for 50,000 images
FEW = 5000  # distinct rows, of some ten thousand images, up to which a multinomial draw is the faster one
RESAMPLED_FROM = 3  # arms of a group, from which on they are resampled: two say too little about their spread
ANY = (-np.inf, np.inf)


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric of every arm and seed on one test set, with its bootstrap replicates.

    Replicate b resamples the same images (and baselines) for all arms and seeds, so that a difference of two arms
    within it is paired.

    Attributes:
        point: The values, [A, S], in the metric's unit; `draws` are the replicates, [B, A, S].
        over: What was resampled besides seeds ("images", "images and baselines").
        of: What the metric is a mean of ("mean of 3 shifts"), "" for one test set.
        bounds: What no arm's interval leaves.
        right: The right answers, int [A, S], of a proportion, whose interval for one checkpoint is then exact.
        extrapolated: The arms whose values extrapolate.
        shares: The share of the images that each group has, by its name; empty where the images have no groups.
        freedom: The degrees of freedom of Student's t for the spread that the replicates have: few where they are over
            few groups, infinite for images. `common` are those of what all test sets share: clean images and lines.
        in_mean: Whether it says enough to enter a mean over test sets.
    """

    point: np.ndarray
    draws: np.ndarray
    n: int
    classes: int
    over: str
    of: str = ""
    bounds: tuple[float, float] = ANY
    right: np.ndarray | None = None
    extrapolated: frozenset[int] = frozenset()
    shares: Mapping[str, float] = field(default_factory=dict)
    freedom: float = np.inf
    common: float = np.inf
    in_mean: bool = True

    def extrapolates(self, *arms: int) -> bool:
        """Return whether the values of any of `arms` extrapolate."""
        return not self.extrapolated.isdisjoint(arms)

    def arm(self, arm: int, seeds: np.ndarray) -> Score:
        """Return the mean over seeds of one arm. `seeds` [B, S] are the weights of `seed_weights`."""
        if self.right is not None and seeds.shape[1] == 1:
            exact = self.one(arm, 0)
            return replace(exact, method="; ".join(filter(None, (self.of, exact.method, "one seed"))))
        score = self._score(self.point[arm], self.draws[:, arm], seeds)
        return replace(_clip_to_bounds(score, self.bounds), extrapolated=self.extrapolates(arm))

    def difference(self, arm: int, reference: int | None, seeds: np.ndarray) -> Score:
        """Return `arm` minus `reference` (None: it is a difference itself), paired by image and seed, over seeds."""
        point, draws, bounds = self.point[arm], self.draws[:, arm], self.bounds
        if reference is not None:
            point, draws = point - self.point[reference], draws - self.draws[:, reference]
            bounds = self._difference_bounds
        extrapolated = self.extrapolates(arm) if reference is None else self.extrapolates(arm, reference)
        score, p = self._score(point, draws, seeds), self._p_value(point, draws, seeds)
        return replace(_clip_to_bounds(score, bounds), p=p, extrapolated=extrapolated)

    @property
    def _difference_bounds(self) -> tuple[float, float]:
        """The bounds that no difference of two arms leaves."""
        least, most = self.bounds
        return least - most, most - least

    def one(self, arm: int, seed: int) -> Score:
        """Return the score of one checkpoint: nothing but `over` is resampled."""
        if self.right is not None:
            return accuracy_score(int(self.right[arm, seed]), self.n, self.classes)
        point = float(self.point[arm, seed])
        lo, hi = _widened_interval(point, self.draws[:, arm, seed], self._freedom_of(self.draws[:, arm, seed]))
        method = f"bootstrap 95 % over {self.over}"
        score = Score(point, lo, hi, self.n, self.classes, method, self.extrapolates(arm), len(self.shares))
        return _clip_to_bounds(score, self.bounds)

    def beyond(
        self,
        expected: np.ndarray,
        drawn: np.ndarray,
        over: str,
        extrapolated: frozenset[int],
        clean: Groups | None,
        fit: int,
    ) -> Measured:
        """Return this accuracy minus the `expected` one, [A, S], with replicates `drawn` [B, A, S], in points.

        The expected accuracy is as uncertain as its replicates, so nothing but 0 and 100 % bounds either. The spread
        has no more degrees of freedom than the `fit` to the baselines, and than the groups of the `clean` images.
        """
        if clean is not None and not self.shares:
            over = f"{len(clean.names)} clean groups and {over}"
        common = fit if clean is None else min(fit, clean.freedom)
        beyond = replace(self, point=self.point - expected, draws=self.draws - drawn, over=f"{self.over} and {over}")
        beyond = replace(beyond, freedom=min(self.freedom, common), common=common)
        return replace(beyond, bounds=(-100, 100), right=None, extrapolated=extrapolated)

    def over_arms(self, arms: Sequence[int], minus: Sequence[int] | None = None) -> Measured:
        """Return the mean over `arms` as that of a single one; `minus` are the arms to subtract, one from each.

        From RESAMPLED_FROM arms on, a replicate resamples them, the same ones for every metric and every group of as
        many arms; below, the interval is that of just these arms.
        """
        indices, number, resamples = list(arms), len(arms), len(self.draws)
        point, draws = self.point[indices], self.draws[:, indices]
        if minus is not None:
            point, draws = point - self.point[list(minus)], draws - self.draws[:, list(minus)]
        words = count(number, "arm")
        over, freedom, shares = self.over, self.freedom, np.full((resamples, number), 1 / number)
        if number >= RESAMPLED_FROM:
            over = f"{over.replace(' and ', ', ')} and {words}"
            freedom = freedom_of_sum((_variance(draws.mean(axis=(1, 2))), freedom), *spread(point.mean(axis=1)))
            shares = seed_weights(number, resamples, np.random.default_rng([0, number]))
        return replace(
            self,
            point=point.mean(axis=0, keepdims=True),
            draws=np.einsum("bas,ba->bs", draws, shares)[:, None],
            over=over,
            of=f"{self.of} and {words}" if self.of else f"mean of {words}",
            bounds=self.bounds if minus is None else self._difference_bounds,
            right=None,
            freedom=freedom,
            extrapolated=frozenset([0] if self.extrapolates(*indices, *(minus or ())) else ()),
        )

    def _freedom(self, point: np.ndarray, draws: np.ndarray) -> float:
        """The degrees of freedom of a mean over seeds: of the spread of `draws` [B, S] and that of `point` [S]."""
        mean = draws.mean(axis=1)
        return freedom_of_sum((_variance(mean), self._freedom_of(mean)), *spread(point))

    def _freedom_of(self, draws: np.ndarray) -> float:
        """The degrees of freedom of the spread of `draws` [B]: fewer than `freedom` where few groups carry it."""
        return min(self.freedom, carried_freedom(draws, self.shares, self.freedom))

    def _p_value(self, point: np.ndarray, draws: np.ndarray, seeds: np.ndarray) -> float:
        """Of a difference that is none, by its standard error; where nothing varies, it is none or sure."""
        value, error = float(point.mean()), float(np.nanstd((draws * seeds).sum(axis=1)))
        if error == 0:
            return float(value == 0)
        freedom = self._freedom(point, draws)
        below = ndtr(-abs(value) / error) if np.isinf(freedom) else stdtr(freedom, -abs(value) / error)
        return float(2 * below)

    def _score(self, point: np.ndarray, draws: np.ndarray, seeds: np.ndarray) -> Score:
        lo, hi = _widened_interval(float(point.mean()), (draws * seeds).sum(axis=1), self._freedom(point, draws))
        method = f"bootstrap 95 % over {self.over}; one seed"
        if seeds.shape[1] > 1:
            method = f"bootstrap 95 % over {self.over.replace(' and ', ', ')} and {seeds.shape[1]} seeds"
        method = f"{self.of}; {method}" if self.of else method
        return Score(float(point.mean()), lo, hi, self.n, self.classes, method, groups=len(self.shares))


def interval_over_sets(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of `values`, one of each test set, if test sets are what is drawn.

    It is Student's t over the values alone; None for fewer than two of them.
    """
    if len(values) < 2:
        return None
    ((variance, freedom),) = spread(np.asarray(values, dtype=float))
    half = float(stdtrit(freedom, TAILS[1] / 100)) * variance**0.5
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def spread(point: np.ndarray) -> list[tuple[float, float]]:
    """Return the variance of the mean of `point` [S], such as that of seeds, and its freedom; nothing for one."""
    return [(float(point.var(ddof=1)) / len(point), len(point) - 1)] if len(point) > 1 else []


def freedom_of_sum(*parts: tuple[float, float]) -> float:
    """Return the degrees of freedom of a sum of parts, each a variance with its own (Satterthwaite, 1946)."""
    total, few = sum(variance for variance, _ in parts), sum(variance**2 / freedom for variance, freedom in parts)
    return total**2 / few if few else np.inf


def carried_freedom(draws: np.ndarray, shares: Mapping[str, float], rest: float) -> float:
    """Return the degrees of freedom of `draws` [B], replicates by the weights of groups, as these carry their spread.

    The part of each group is its deviation from the mean, times its share: that of the least-squares fit of the draws
    to the groups' shares in each replicate. They count as the squared sum of their squares over the sum of the fourth
    powers: 24 groups of which two carry all count as two. A square of one deviation varies more than the variance that
    it stands for, which makes the number smaller; simulated, it is then that intervals hold what they promise
    (tests/robustness/test_grouping.py). What the fit does not explain, such as baselines, has the `rest`.
    """
    if not shares or len(draws) <= 2 * len(shares) or np.isnan(draws).any():
        return np.inf
    drawn_shares, projection = _fit_to_shares(tuple(shares.items()), len(draws))
    slopes, total = projection @ draws, _variance(draws)
    explained = min(_variance(drawn_shares @ slopes), total)
    share = np.array(list(shares.values()))
    parts = (share * (slopes - share @ slopes / share.sum())) ** 2
    if not parts.any():
        return np.inf
    counted = float(parts.sum()) ** 2 / float((parts**2).sum())
    return freedom_of_sum((explained, counted), (total - explained, rest))


@lru_cache(maxsize=8)
def _fit_to_shares(shares: tuple[tuple[str, float], ...], bootstrap: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each group in each replicate, [B, G], and the matrix [G, B] that fits replicates to them."""
    weights = group_weights(tuple(name for name, _ in shares), bootstrap) * np.array([share for _, share in shares])
    drawn = weights / weights.sum(axis=1, keepdims=True)
    centered = drawn - drawn.mean(axis=0)
    values, vectors = np.linalg.eigh(centered.T @ centered)  # for many groups far faster than numpy's pinv
    kept = values > 1e-12 * values[-1]  # rows sum to 1: one direction is rounding
    return drawn, (vectors[:, kept] / values[kept]) @ (vectors[:, kept].T @ centered.T)


def _variance(draws: np.ndarray) -> float:
    return float(np.nanvar(draws))


def _widened_interval(point: float, draws: np.ndarray, freedom: float) -> tuple[float, float]:
    """The central 95 % of `draws` [B], its NaNs aside, wider for little freedom: by Student's t over the normal's."""
    lo, hi = map(float, np.nanpercentile(draws, TAILS))
    if np.isinf(freedom):
        return lo, hi
    tail = TAILS[1] / 100
    wider = float(stdtrit(freedom, tail) / ndtri(tail))
    return point + wider * (lo - point), point + wider * (hi - point)


def _clip_to_bounds(score: Score, bounds: tuple[float, float]) -> Score:
    """`score` within `bounds`, and its value within its interval: replicates of 0 or 100 % lie all on one side."""
    least, most = bounds
    return replace(score, lo=min(max(score.lo, least), score.value), hi=max(min(score.hi, most), score.value))


def mean_of(parts: Sequence[Measured], label: str) -> Measured:
    """Return the unweighted mean of several test sets' metrics, named `label`; replicate b averages replicates b.

    That of one set is that set's metric, with the same intervals.
    """
    if len(parts) == 1:
        return replace(parts[0], of=label)
    least, most = np.mean([part.bounds for part in parts], axis=0).tolist()
    shares = {name: 0.0 for part in parts for name in part.shares}
    for part in parts:
        for name, share in part.shares.items():
            shares[name] += share / len(parts)
    return Measured(
        point=np.mean([part.point for part in parts], axis=0),
        draws=np.mean([part.draws for part in parts], axis=0),
        n=sum(part.n for part in parts),
        classes=max(part.classes for part in parts),
        over=_resampled_over(parts, len(shares)),
        of=label,
        bounds=(least, most),
        extrapolated=frozenset().union(*(part.extrapolated for part in parts)),
        shares=shares,
        freedom=min(_freedom_of_mean(parts, shares), *(part.common for part in parts)),
    )


def _freedom_of_mean(parts: Sequence[Measured], shares: Mapping[str, float]) -> float:
    """The most degrees of freedom of a mean: Satterthwaite's (1946), or those of groups that are large in many parts.

    Both as if every group spread alike; `carried_freedom` says how far they do.
    """
    if not shares:
        return np.inf
    independent = freedom_of_sum(*((crowding(part.shares) or 1 / part.n, part.freedom) for part in parts))
    return float(min(independent, max(1 / crowding(shares) - 1, 1.0)))


def _resampled_over(parts: Sequence[Measured], groups: int) -> str:
    """Return what a mean is resampled over: the groups of all its parts, and images where some have no groups."""
    first = max(parts, key=lambda part: len(part.shares))
    every = f"{groups} groups" if all(part.shares for part in parts) else f"{groups} groups and images"
    return first.over.replace(f"{len(first.shares)} groups", every, 1)


def measure_accuracy(
    right: np.ndarray,
    classes: int,
    bootstrap: int,
    rng: np.random.Generator,
    groups: Groups | None = None,
    pictures: Groups | None = None,
) -> Measured:
    """Return the accuracies in percent of `right`, bool [A, S, N], with replicates over images, or over `groups`.

    Images that were made from few `pictures` count as these.
    """
    arms, seeds, n = right.shape
    columns, point = right.reshape(arms * seeds, n).T, 100 * right.mean(axis=2)

    means = partial(resampled_means, columns, np.ones((n, 1), dtype=bool), bootstrap)

    def over_images(rng: np.random.Generator) -> np.ndarray:
        return 100 * means(rng, pictures).reshape(bootstrap, arms, seeds)

    single = n if pictures is None else len(pictures.names)
    draws = spread_of_sure(100 * means(rng, groups).reshape(bootstrap, arms, seeds), point, single, rng)
    measured = Measured(point, draws, n, classes, "images", bounds=(0, 100))
    if groups is None:
        return replace(measured, right=right.sum(axis=2))
    return over_groups(measured, groups, over_images)


def over_groups(measured: Measured, groups: Groups, over_images: Resample) -> Measured:
    """Return `measured`, whose replicates are of `Groups.weights`, with their spread made as `Groups.spread` says."""
    return replace(
        measured,
        draws=groups.spread(measured.point, measured.draws, over_images),
        over=f"{len(groups.names)} groups",
        shares=groups.shares,
        freedom=groups.freedom,
    )


def resampled_means(
    columns: np.ndarray,
    members: np.ndarray,
    bootstrap: int,
    rng: np.random.Generator,
    groups: Groups | None = None,
) -> np.ndarray:
    """Return means of `columns` over `bootstrap` resamples of the rows (images), or of their groups: float [B, M].

    Args:
        columns: bool [N, M], what is right.
        members: bool [N, G], which images count in each of G groups, of M / G neighboring columns each. A resample
            without any member of a group gives NaN in its columns.
    """
    per_group = columns.shape[1] // members.shape[1]
    counted = np.hstack([columns & np.repeat(members, per_group, axis=1), members])
    if groups is not None:
        order = np.argsort(groups.of_image, kind="stable")
        starts = np.searchsorted(groups.of_image[order], range(len(groups.names)))  # each has an image
        of_groups = np.add.reduceat(counted[order], starts, axis=0, dtype=np.int64)
        return _ratios(group_weights(groups.names, bootstrap) @ of_groups, columns.shape[1], per_group)
    bits = np.packbits(counted, axis=1)  # compared as bytes: 20 times faster than numpy's unique rows
    words = np.ascontiguousarray(bits).view(np.dtype((np.void, bits.shape[1]))).ravel()
    _, first, row_of, counts = np.unique(words, return_index=True, return_inverse=True, return_counts=True)
    rows = counted[first].astype(np.float32)  # float32 counts exactly up to 2^24 images
    parts = [min(AT_ONCE, bootstrap - start) for start in range(0, bootstrap, AT_ONCE)]
    sums = np.concatenate([_row_counts(row_of, counts, part, rng).astype(np.float32) @ rows for part in parts])
    return _ratios(sums.astype(float), columns.shape[1], per_group)


def _ratios(sums: np.ndarray, columns: int, per_group: int) -> np.ndarray:
    """The sums of columns over those of the members that each `per_group` of them count in."""
    right, total = np.split(sums, [columns], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(right / np.repeat(total, per_group, axis=1))


def _row_counts(row_of: np.ndarray, counts: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each distinct row comes in each resample: int [B, D].

    Equal rows are interchangeable, so a resample is one multinomial draw over the distinct rows: exact, and 10 to 100
    times faster than drawing images where distinct rows are few; where they are many, it is slower.
    """
    n, d = len(row_of), len(counts)
    if d <= FEW:
        return rng.multinomial(n, counts / n, size=resamples)
    return np.stack([np.bincount(row_of[rng.integers(0, n, n)], minlength=d) for _ in range(resamples)])


def image_counts(
    n: int, bootstrap: int, rng: np.random.Generator, groups: Groups | None = None
) -> Iterator[np.ndarray]:
    """Yield how much each of `n` images counts in each resample, float32 [B', n], for `bootstrap` resamples in all."""
    if groups is not None:
        weights = group_weights(groups.names, bootstrap)
        yield from (weights[start : start + AT_ONCE, groups.of_image] for start in range(0, bootstrap, AT_ONCE))
        return
    for start in range(0, bootstrap, AT_ONCE):
        block = range(min(AT_ONCE, bootstrap - start))
        yield np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in block]).astype(np.float32)


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
