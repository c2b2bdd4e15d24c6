"""A metric of all arms and seeds on one test set, its means over test sets and arms, and its intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from genrobust.core import Score, count
from genrobust.robustness.accuracy import accuracy_score, spread_certain
from genrobust.robustness.degrees_of_freedom import (
    carried_freedom,
    freedom_of_sum,
    replicate_variance,
    variance_of_mean,
)
from genrobust.robustness.image_groups import DrawOverImages, Groups, crowding
from genrobust.robustness.resampling import resampled_means, seed_weights

# Percentiles of a 95 % interval.
TAILS = (2.5, 97.5)
UPPER_TAIL = TAILS[1] / 100
# Two arms of a group say too little about the spread of arms to resample them.
MIN_RESAMPLED_ARMS = 3
ANY = (-np.inf, np.inf)


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric of A arms with S seeds on one test set, with its bootstrap replicates.

    Replicate b resamples the same images (and baselines) for all arms and seeds, so the difference of two arms within
    a replicate is paired.

    Attributes:
        point: The values, [A, S], in the metric's unit.
        draws: The replicates, [B, A, S].
        n: The number of images.
        classes: The number of classes.
        over: The resampled units, without seeds: "images", "images and baselines".
        label: The name of a mean: "mean of 3 shifts". "" for one test set.
        bounds: No arm's interval leaves these.
        right: The numbers of right predictions, int [A, S], of a proportion. The interval of one checkpoint is then
            exact.
        extrapolated: The arms whose values extrapolate.
        shares: The share of the images that each group has, by its name. Empty if the images have no groups.
        freedom: The degrees of freedom of the replicates' spread: few if they are over few groups, infinite for images.
        shared_freedom: The part of `freedom` that comes from what all test sets share: clean images and lines.
        in_mean: Whether a mean over test sets includes it.
    """

    point: np.ndarray
    draws: np.ndarray
    n: int
    classes: int
    over: str
    label: str = ""
    bounds: tuple[float, float] = ANY
    right: np.ndarray | None = None
    extrapolated: frozenset[int] = frozenset()
    shares: Mapping[str, float] = field(default_factory=dict)
    freedom: float = np.inf
    shared_freedom: float = np.inf
    in_mean: bool = True

    def extrapolates(self, *arms: int) -> bool:
        """Return whether the values of any of `arms` extrapolate."""
        return not self.extrapolated.isdisjoint(arms)

    def checkpoint_score(self, arm: int, seed: int) -> Score:
        """Return the score of one checkpoint. Its interval contains only what `over` names."""
        if self.right is not None:
            return accuracy_score(int(self.right[arm, seed]), self.n, self.classes)
        point = float(self.point[arm, seed])
        draws = self.draws[:, arm, seed]
        lo, hi = _widened_interval(point, draws, self._freedom_of(draws))
        method = f"bootstrap 95 % over {self.over}"
        score = Score(point, lo, hi, self.n, self.classes, method, self.extrapolates(arm), len(self.shares))
        return _clip_to_bounds(score, self.bounds)

    def arm_score(self, arm: int, weights: np.ndarray) -> Score:
        """Return the mean over seeds of one arm.

        Args:
            weights: The weight of each seed in each replicate, [B, S], from `seed_weights`.
        """
        if self.right is not None and weights.shape[1] == 1:
            exact = self.checkpoint_score(arm, 0)
            method = f"{exact.method}; one seed"
            if self.label:
                method = f"{self.label}; {method}"
            return replace(exact, method=method)
        score = self._mean_over_seeds(self.point[arm], self.draws[:, arm], weights)
        return replace(_clip_to_bounds(score, self.bounds), extrapolated=self.extrapolates(arm))

    def difference(self, arm: int, reference: int, weights: np.ndarray) -> Score:
        """Return `arm` minus `reference`, paired by image and seed, as the mean over seeds.

        Args:
            weights: The weight of each seed in each replicate, [B, S], from `seed_weights`.
        """
        point = self.point[arm] - self.point[reference]
        draws = self.draws[:, arm] - self.draws[:, reference]
        pair = replace(
            self,
            point=point[None],
            draws=draws[:, None],
            bounds=self._difference_bounds,
            extrapolated=frozenset([0] if self.extrapolates(arm, reference) else []),
        )
        return pair.difference_score(weights)

    def difference_score(self, weights: np.ndarray) -> Score:
        """Return the score, with a p-value, of a `Measured` whose only arm is a difference."""
        score = self._mean_over_seeds(self.point[0], self.draws[:, 0], weights)
        p = self._p_value(self.point[0], self.draws[:, 0], weights)
        return replace(_clip_to_bounds(score, self.bounds), p=p, extrapolated=self.extrapolates(0))

    @property
    def _difference_bounds(self) -> tuple[float, float]:
        """The bounds of the difference of two arms."""
        lo, hi = self.bounds
        return lo - hi, hi - lo

    def minus_expected(self, expected: Expected) -> Measured:
        """Return this accuracy minus the `expected` one, in points.

        The expected accuracy is as uncertain as its replicates, so only 0 and 100 % bound the difference. Its spread
        has no more degrees of freedom than the line, and no more than the groups of clean images.
        """
        over = expected.over
        freedom = expected.line_freedom
        if expected.clean_groups is not None:
            freedom = min(freedom, expected.clean_groups.freedom)
            if not self.shares:
                over = f"{len(expected.clean_groups.names)} clean groups and {over}"
        return replace(
            self,
            point=self.point - expected.point,
            draws=self.draws - expected.draws,
            over=f"{self.over} and {over}",
            bounds=(-100, 100),
            right=None,
            extrapolated=expected.extrapolated,
            freedom=min(self.freedom, freedom),
            shared_freedom=freedom,
        )

    def mean_over_arms(self, arms: Sequence[int], minus: Sequence[int] | None = None) -> Measured:
        """Return the mean over `arms` as one arm, or the mean of their differences from the arms `minus`.

        From `MIN_RESAMPLED_ARMS` arms on, a replicate resamples them, the same ones for every metric and for every
        group of as many arms. With fewer, the interval is about exactly these arms.
        """
        indices, number = list(arms), len(arms)
        point, draws = self.point[indices], self.draws[:, indices]
        bounds = self.bounds
        extrapolates = self.extrapolates(*arms)
        if minus is not None:
            point = point - self.point[list(minus)]
            draws = draws - self.draws[:, list(minus)]
            bounds = self._difference_bounds
            extrapolates = self.extrapolates(*arms, *minus)
        words = count(number, "arm")
        over, freedom = self.over, self.freedom
        weights = np.full((len(draws), number), 1 / number)
        if number >= MIN_RESAMPLED_ARMS:
            over = f"{_with_commas(over)} and {words}"
            variance = replicate_variance(draws.mean(axis=(1, 2)))
            freedom = freedom_of_sum((variance, freedom), *variance_of_mean(point.mean(axis=1)))
            weights = seed_weights(number, len(draws), np.random.default_rng([0, number]))
        return replace(
            self,
            point=point.mean(axis=0, keepdims=True),
            draws=np.einsum("bas,ba->bs", draws, weights)[:, None],
            over=over,
            label=f"{self.label} and {words}" if self.label else f"mean of {words}",
            bounds=bounds,
            right=None,
            freedom=freedom,
            extrapolated=frozenset([0] if extrapolates else []),
        )

    def _mean_over_seeds(self, point: np.ndarray, draws: np.ndarray, weights: np.ndarray) -> Score:
        """Return the score of the mean of `point` [S], with replicates `draws` [B, S]."""
        value = float(point.mean())
        lo, hi = _widened_interval(value, (draws * weights).sum(axis=1), self._freedom_of_mean(point, draws))
        seeds = weights.shape[1]
        if seeds > 1:
            method = f"bootstrap 95 % over {_with_commas(self.over)} and {seeds} seeds"
        else:
            method = f"bootstrap 95 % over {self.over}; one seed"
        if self.label:
            method = f"{self.label}; {method}"
        return Score(value, lo, hi, self.n, self.classes, method, groups=len(self.shares))

    def _p_value(self, point: np.ndarray, draws: np.ndarray, weights: np.ndarray) -> float:
        """Return the two-sided p-value of no difference, from Student's t with the bootstrap standard error.

        If nothing varies, it is 1 for a difference of 0 and else 0.
        """
        value = float(point.mean())
        error = float(np.nanstd((draws * weights).sum(axis=1)))
        if error == 0:
            return float(value == 0)
        freedom = self._freedom_of_mean(point, draws)
        statistic = -abs(value) / error
        below = ndtr(statistic) if np.isinf(freedom) else stdtr(freedom, statistic)
        return float(2 * below)

    def _freedom_of_mean(self, point: np.ndarray, draws: np.ndarray) -> float:
        """Return the degrees of freedom of a mean over seeds: of the spread of `draws` [B, S] and of `point` [S]."""
        mean = draws.mean(axis=1)
        return freedom_of_sum((replicate_variance(mean), self._freedom_of(mean)), *variance_of_mean(point))

    def _freedom_of(self, draws: np.ndarray) -> float:
        """Return the degrees of freedom of `draws` [B]: fewer than `freedom` if few groups carry their spread."""
        return min(self.freedom, carried_freedom(draws, self.shares, self.freedom))


@dataclass(frozen=True, slots=True)
class Expected:
    """The shifted accuracies that a baseline line predicts from clean accuracies, in percent.

    Attributes:
        point: [A, S].
        draws: The replicates, [B, A, S].
        over: The resampled units: "baselines".
        extrapolated: The arms outside the baselines.
        clean_groups: The groups of the clean images, None if they have none.
        line_freedom: The degrees of freedom of the line.
    """

    point: np.ndarray
    draws: np.ndarray
    over: str
    extrapolated: frozenset[int]
    clean_groups: Groups | None
    line_freedom: float


def _with_commas(over: str) -> str:
    """Rewrite "images and baselines" as "images, baselines", before another " and " follows."""
    return over.replace(" and ", ", ")


def _widened_interval(point: float, draws: np.ndarray, freedom: float) -> tuple[float, float]:
    """Return the central 95 % of `draws` [B] without NaNs, widened by Student's t over the normal for few `freedom`."""
    lo, hi = map(float, np.nanpercentile(draws, TAILS))
    if np.isinf(freedom):
        return lo, hi
    factor = float(stdtrit(freedom, UPPER_TAIL) / ndtri(UPPER_TAIL))
    return point + factor * (lo - point), point + factor * (hi - point)


def _clip_to_bounds(score: Score, bounds: tuple[float, float]) -> Score:
    """Return `score` with its interval inside `bounds` and around its value.

    Replicates of 0 or 100 % are all on one side of the value.
    """
    lowest, highest = bounds
    lo = min(max(score.lo, lowest), score.value)
    hi = max(min(score.hi, highest), score.value)
    return replace(score, lo=lo, hi=hi)


def interval_over_sets(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of `values`, one of each test set, for other test sets of the same kind.

    It is Student's t over the values alone. None for fewer than two.
    """
    if len(values) < 2:
        return None
    ((variance, freedom),) = variance_of_mean(np.asarray(values, dtype=float))
    half = float(stdtrit(freedom, UPPER_TAIL)) * variance**0.5
    mean = float(np.mean(values))
    return mean - half, mean + half


def mean_of(parts: Sequence[Measured], label: str) -> Measured:
    """Return the unweighted mean of the metric on several test sets; replicate b is the mean of replicates b.

    The mean of one test set has the values and intervals of that set. The mean is named `label`.
    """
    if len(parts) == 1:
        return replace(parts[0], label=label)
    lowest, highest = np.mean([part.bounds for part in parts], axis=0).tolist()
    shares: dict[str, float] = {}
    for part in parts:
        for name, share in part.shares.items():
            shares[name] = shares.get(name, 0.0) + share / len(parts)
    freedom = min(_freedom_of_mean(parts, shares), *(part.shared_freedom for part in parts))
    return Measured(
        point=np.mean([part.point for part in parts], axis=0),
        draws=np.mean([part.draws for part in parts], axis=0),
        n=sum(part.n for part in parts),
        classes=max(part.classes for part in parts),
        over=_join_over(parts, len(shares)),
        label=label,
        bounds=(lowest, highest),
        extrapolated=frozenset().union(*(part.extrapolated for part in parts)),
        shares=shares,
        freedom=freedom,
    )


def _freedom_of_mean(parts: Sequence[Measured], shares: Mapping[str, float]) -> float:
    """Return the largest possible degrees of freedom of a mean over test sets, if every group spread alike.

    It is the freedom of independent sets (Satterthwaite, 1946), or the freedom of the groups in all sets if that is
    smaller: some groups may be large in many sets. `carried_freedom` lowers it if few groups carry the spread.
    """
    if not shares:
        return np.inf
    # A set without groups spreads as if each image were a group.
    variances = [crowding(part.shares) if part.shares else 1 / part.n for part in parts]
    freedoms = [part.freedom for part in parts]
    independent = freedom_of_sum(*zip(variances, freedoms, strict=True))
    of_groups = max(1 / crowding(shares) - 1, 1.0)
    return float(min(independent, of_groups))


def _join_over(parts: Sequence[Measured], groups: int) -> str:
    """Return what a mean resamples: the groups of all its test sets, and images if some sets have no groups."""
    first = max(parts, key=lambda part: len(part.shares))
    every = f"{groups} groups"
    if not all(part.shares for part in parts):
        every += " and images"
    return first.over.replace(f"{len(first.shares)} groups", every, 1)


def measure_accuracy(
    right: np.ndarray,
    classes: int,
    bootstrap: int,
    rng: np.random.Generator,
    groups: Groups | None = None,
    pictures: Groups | None = None,
) -> Measured:
    """Return the accuracies in percent of `right`, bool [A, S, N], with replicates over images or over `groups`.

    Images that were made from few `pictures` count as these.
    """
    arms, seeds, n = right.shape
    columns = right.reshape(arms * seeds, n).T
    draw_means = partial(resampled_means, columns, np.ones((n, 1), dtype=bool), bootstrap)

    def draw(rng: np.random.Generator, units: Groups | None) -> np.ndarray:
        return 100 * draw_means(rng, units).reshape(bootstrap, arms, seeds)

    point = 100 * right.mean(axis=2)
    single = n if pictures is None else len(pictures.names)
    draws = spread_certain(draw(rng, groups), point, single, rng)
    measured = Measured(point, draws, n, classes, "images", bounds=(0, 100))
    if groups is None:
        return replace(measured, right=right.sum(axis=2))
    return spread_over_groups(measured, groups, partial(draw, units=pictures))


def spread_over_groups(measured: Measured, groups: Groups, over_images: DrawOverImages) -> Measured:
    """Return `measured`, whose replicates weigh its `groups`, with the spread that `Groups.widen` gives them."""
    return replace(
        measured,
        draws=groups.widen(measured.point, measured.draws, over_images),
        over=f"{len(groups.names)} groups",
        shares=groups.shares,
        freedom=groups.freedom,
    )
