"""Accuracies on one linear axis, one lane for each arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from genrobust.core import Summary
from genrobust.report.wording import interval_ends, most_frequent, number, span

# The least span of an axis of accuracies, in points.
NARROWEST = 10
# Steps between ticks, in points, and the most steps on an axis.
STEPS = (2, 5, 10)
LARGEST_STEP = 20
MAX_STEPS = 6


@dataclass(frozen=True, slots=True)
class Lane:
    """An accuracy on an axis, with positions in percent of the axis' length.

    Attributes:
        at: The position of the accuracy.
        whisker: The ends of the interval. If that is over few groups of images and says little, the ends of `groups`.
        groups: The accuracies on these groups.
    """

    arm: str
    at: float
    whisker: tuple[float, float]
    label: str
    groups: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Lanes:
    """Accuracies on one axis, with positions in percent of its length.

    Attributes:
        rows: The lanes of each test set, one lane per arm.
        ticks: Positions, each with its percents.
        guessing: The position of `most_frequent` on each test set, if it is on the axis.
    """

    rows: Mapping[str, Sequence[Lane]]
    ticks: Sequence[tuple[float, int]]
    guessing: Mapping[str, float]


def lanes(summary: Summary, arms: Sequence[str], test_sets: Sequence[str], with_guessing: bool = False) -> Lanes:
    """Return the top-1 of `arms` on `test_sets`, on one axis, which reaches `most_frequent` if `with_guessing`."""
    ends = {(arm, test): accuracy_range(summary, arm, test) for arm, test in product(arms, test_sets)}
    rates = {test: most_frequent(summary, test) for test in test_sets}
    shown = list(ends.values())
    if with_guessing:
        shown += [(rate, rate) for rate in rates.values()]
    position, ticks = axis(shown)

    def lane(arm: str, test: str) -> Lane:
        score = summary.score("top1", arm, test)
        lo, hi = ends[arm, test]
        groups = summary.by_group.get(test, {}).get(arm, ())
        words = span(score)
        if groups:
            words = f"its {len(groups)} groups {', '.join(map(number, groups))}"
        label = f"{arm}: {number(score.value)} % ({words})"
        return Lane(arm, position(score.value), (position(lo), position(hi)), label, tuple(map(position, groups)))

    rows = {}
    guessing = {}
    for test, rate in rates.items():
        rows[test] = [lane(arm, test) for arm in arms]
        if 0 <= position(rate) <= 100:
            guessing[test] = position(rate)
    return Lanes(rows, ticks, guessing)


def accuracy_range(summary: Summary, arm: str, test_set: str) -> tuple[float, float]:
    """Return the ends of the interval of a top-1 accuracy, or the range of its groups of images if there are few."""
    groups = summary.by_group.get(test_set, {}).get(arm)
    if groups:
        return min(groups), max(groups)
    return interval_ends(summary.score("top1", arm, test_set))


def axis(
    ends: Collection[tuple[float, float]],
) -> tuple[Callable[[float], float], tuple[tuple[float, int], ...]]:
    """Return a linear axis over all of `ends`, cut to whole steps: the position of a value, and its ticks.

    Positions are in percent of the axis' length.
    """
    least, most = widen_range(min(lo for lo, _ in ends), max(hi for _, hi in ends))
    fitting = [step for step in STEPS if most - least <= MAX_STEPS * step]
    step = fitting[0] if fitting else LARGEST_STEP
    low, high = step * math.floor(least / step), step * math.ceil(most / step)

    def position(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    ticks = tuple((position(tick), tick) for tick in range(low, high + 1, step))
    return position, ticks


def widen_range(least: float, most: float) -> tuple[float, float]:
    """Widen a range of percents to `NARROWEST` points about its middle, between 0 and 100."""
    if most - least >= NARROWEST:
        return least, most
    low = (least + most - NARROWEST) / 2
    low = min(max(low, 0), 100 - NARROWEST)
    return low, low + NARROWEST
