"""A study's metrics in words: numbers with their signs and intervals, and what they do not say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genrobust.core import MEAN_OF_SHIFTS, Score, Summary, count
from genrobust.robustness import EXPLAINED, Metric, find_metric, interval_over_sets

MINUS, EN_DASH = "\u2212", "\u2013"
EXTRAPOLATED = "°"  # after a metric
ELSEWHERE = "\u2021"  # a double dagger: learned from other data than the study's
MINUTE = 60  # seconds
MOST = 100.0  # points that two percents differ by
STARTED = "\u00a7"  # a section sign: began with what it learned from other data
MISLABELED = (
    "its labels are permuted, or its images prepared differently"  # a set that is answered worse than by guesses
)


def number(value: float, signed: bool = False, digits: int = 1) -> str:
    """Write a number with a true minus sign: "1,057.6", "−0.3", or "+12.5" where `signed`. No "−0.0"."""
    rounded = round(value, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{rounded:{'+' if signed and rounded else ''},.{digits}f}".replace("-", MINUS)


def span(score: Score, signed: bool = False, digits: int = 1) -> str:
    """Write the interval of a Score: "55.1–60.2", or "+11.0 to +14.1" where `signed`.

    A signed end keeps its sign where it rounds to zero: "+0.0 to +3.1" excludes zero.
    """
    ends = (score.lo, score.hi)
    if not signed:
        return EN_DASH.join(number(end, digits=digits) for end in ends)
    signs = ("+" if end > 0 else MINUS if end < 0 else "" for end in ends)
    return " to ".join(f"{sign}{number(abs(end), digits=digits)}" for sign, end in zip(signs, ends, strict=True))


def is_sure(score: Score) -> bool:
    """Return whether the interval of a difference excludes zero."""
    return score.lo > 0 or score.hi < 0


def is_below_guessing(score: Score) -> bool:
    """Return whether the whole interval of an accuracy lies below guessing, which hard images alone do not cause."""
    return score.hi < 100 / score.classes


def duration(seconds: float) -> str:
    """Write a time: "0.4 s", "42 s", "3 min 12 s", "1 h 05 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def gain(summary: Summary, metric: str, arm: str, test_set: str = MEAN_OF_SHIFTS) -> Score | None:
    """Return `arm`, or a group, minus its reference; None where there is none, or the metric was not measured."""
    return summary.find(metric, arm, test_set, minus=summary.reference_of(arm))


def over_shifts(summary: Summary, metric: str, arm: str) -> Score | None:
    """Return the gain of `arm` on the mean of shifts, with its interval if shifts are the unit; None for one shift."""
    mean = gain(summary, metric, arm)
    gains = [gain(summary, metric, arm, shift) for shift in shifts_in_mean(summary, find_metric(metric))]
    interval = interval_over_sets([score.value for score in gains if score is not None])
    if mean is None or interval is None:
        return None
    lo, hi = np.clip(interval, -MOST, MOST).tolist() if find_metric(metric).difference_unit == "points" else interval
    return replace(mean, lo=lo, hi=hi, p=None)


def shifts_in_mean(summary: Summary, metric: Metric) -> tuple[str, ...]:
    """Return the shifts that the mean of `metric` is over: those that have it, and a line that explains enough."""
    if metric.needs_lines:
        lines = summary.lines
        return tuple(shift for shift in summary.shifts if shift in lines and lines[shift].r2 >= EXPLAINED)
    return tuple(shift for shift in summary.shifts if summary.find(metric.name, summary.arms[0], shift) is not None)


def guessing(summary: Summary, test_set: str = MEAN_OF_SHIFTS) -> float:
    """Return the top-1 of guesses on a test set, in percent: of the mean, that over the shifts in it."""
    sets = summary.shifts if test_set == MEAN_OF_SHIFTS else (test_set,)
    classes = [summary.score("top1", summary.arms[0], name).classes for name in sets]
    return sum(100 / number for number in classes) / len(classes)


def without_looking(summary: Summary, test_set: str = MEAN_OF_SHIFTS) -> float:
    """Return the no-information rate, as `guessing`: the share of the commonest class, where guesses reach less."""
    sets = summary.shifts if test_set == MEAN_OF_SHIFTS else (test_set,)
    return sum(max(guessing(summary, name), summary.commonest.get(name, 0)) for name in sets) / len(sets)


def rates(summary: Summary) -> str:
    """Write what guessing reaches, and naming the commonest class where that reaches more."""
    chance, best = (number(rate(summary)) for rate in (guessing, without_looking))
    return f"{chance} %" + (f", or {best} % by always naming the commonest class" if best != chance else "")


def is_above_guessing(summary: Summary, arm: str, test_set: str = MEAN_OF_SHIFTS) -> bool:
    """Return whether the whole interval of an arm lies above what it could reach `without_looking`."""
    return summary.score("top1", arm, test_set).lo > without_looking(summary, test_set)


def robustness_over(summary: Summary) -> str:
    """Say over which shifts the mean effective robustness is, where these are not all: "over 5 of the 6 shifts"."""
    over, every = len(shifts_in_mean(summary, find_metric("er"))), len(summary.shifts)
    return "" if over == every else f"over {over} of the {count(every, 'shift')}"


def row_name(summary: Summary, arm: str) -> str:
    """Return the name of a row, marked where it is a model that was trained elsewhere or began with one.

    A group is marked where any of its arms began with one.
    """
    if arm in summary.trained_elsewhere:
        return f"{arm} {ELSEWHERE}"
    begun = {arm, *summary.groups.get(arm, ())} & set(summary.pretrained)
    return f"{arm} {STARTED}" if begun else arm


def marks(summary: Summary) -> str:
    """Return what the marks of `row_name` mean, as sentences; "" without any."""
    notes = [f"{ELSEWHERE} trained on other data."] if summary.trained_elsewhere else []
    if set(summary.pretrained) & set(summary.arms):
        notes.append(f"{STARTED} started from a pretrained network: compare these with each other.")
    return " ".join(notes)


def references(summary: Summary) -> list[str]:
    """Return what arms are compared with, each once."""
    named = ((arm, summary.reference_of(arm)) for arm in summary.arms)
    return list(dict.fromkeys(other for arm, other in named if other != arm))


def compared_with(summary: Summary) -> str:
    """Name what arms are compared with, for a heading: the one reference, or each arm's own."""
    return names[0] if len(names := references(summary)) == 1 else "each arm's reference"


def caveat(summary: Summary) -> str:
    """Say what the seeds allow one to claim."""
    seeds = len(summary.seeds)
    known = [summary.score("top1", summary.arms[0], test).groups > 0 for test in (summary.clean, *summary.shifts)]
    some = "images or known groups of them" if any(known) else "images"
    over = "groups of images" if all(known) else some
    if seeds == 1:
        return (
            f"One seed: the 95 % intervals are over {over}, not over training runs. They describe these checkpoints "
            "and claim nothing general."
        )
    few = " Two seeds say little about other training runs: use three or more." if seeds == 2 else ""
    return f"The 95 % intervals are over {over} and {seeds} seeds.{few}"
