"""Scores in words: numbers with their signs and intervals, references, guessing, and the limits of a few seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genrobust.core import MEAN_OF_SHIFTS, Score, Summary, count
from genrobust.robustness import EXPLAINED, Metric, find_metric, interval_over_sets

MINUS = "\u2212"
EN_DASH = "\u2013"
# After the value of a metric.
EXTRAPOLATED = "°"
# A double dagger after the name of a model that was trained on other data.
ELSEWHERE = "\u2021"
# A section sign after the name of an arm that started from a pretrained network.
STARTED = "\u00a7"
MINUTE = 60  # seconds
HOUR = 3600  # seconds
# The largest difference of two percents, in points.
MAX_DIFFERENCE = 100.0
# Shown instead of an interval over few groups of images (see `Score.has_interval`).
TOO_FEW_GROUPS = "too few groups"
# The likely reasons for a test set on which a classifier is worse than guessing.
MISLABELED = "its labels are permuted, or its images prepared differently"


def number(value: float, signed: bool = False, digits: int = 1) -> str:
    """Write a number with a true minus sign: "1,057.6", "−0.3", or "+12.5" if `signed`. Never "−0.0"."""
    # Adding 0.0 turns -0.0 into 0.0.
    rounded = round(value, digits) + 0.0
    sign = "+" if signed and rounded else ""
    return f"{rounded:{sign},.{digits}f}".replace("-", MINUS)


def span(score: Score, signed: bool = False, digits: int = 1) -> str:
    """Write the interval of a score: "55.1–60.2", or "+11.0 to +14.1" if `signed`.

    Write "too few groups" if it is not shown (see `Score.has_interval`). A signed end keeps its sign if it rounds to
    zero: "+0.0 to +3.1" excludes zero.
    """
    if not score.has_interval:
        return TOO_FEW_GROUPS
    if not signed:
        return f"{number(score.lo, digits=digits)}{EN_DASH}{number(score.hi, digits=digits)}"
    return f"{_signed_end(score.lo, digits)} to {_signed_end(score.hi, digits)}"


def interval_ends(score: Score) -> tuple[float, float]:
    """Return the ends of the interval as plots show them: both are the value if it is not shown."""
    if score.has_interval:
        return score.lo, score.hi
    return score.value, score.value


def _signed_end(end: float, digits: int) -> str:
    sign = ""
    if end > 0:
        sign = "+"
    elif end < 0:
        sign = MINUS
    return sign + number(abs(end), digits=digits)


def is_sure(score: Score) -> bool:
    """Return whether the interval of a difference is shown and excludes zero."""
    excludes_zero = score.lo > 0 or score.hi < 0
    return excludes_zero and score.has_interval


def is_below_guessing(score: Score) -> bool:
    """Return whether the whole interval of an accuracy is below guessing. Hard images alone do not cause this."""
    return score.hi < 100 / score.classes


def duration(seconds: float) -> str:
    """Write a time: "0.4 s", "42 s", "3 min 12 s", "1 h 05 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), MINUTE)
    if seconds < HOUR and minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def gain(summary: Summary, metric: str, arm: str, test_set: str = MEAN_OF_SHIFTS) -> Score | None:
    """Return an arm or group minus its reference. None if it has none, or if the metric was not measured."""
    return summary.find(metric, arm, test_set, minus=summary.reference_of(arm))


def gain_over_shifts(summary: Summary, metric: str, arm: str) -> Score | None:
    """Return the gain of `arm` on the mean of shifts, with the interval for other shifts of the same kind.

    This interval contains the one for these shifts, since few shifts may agree by chance. None for one shift, or if
    there is no such gain.
    """
    definition = find_metric(metric)
    mean = gain(summary, metric, arm)
    values = []
    for shift in shifts_in_mean(summary, definition):
        score = gain(summary, metric, arm, shift)
        if score is not None:
            values.append(score.value)
    interval = interval_over_sets(values)
    if mean is None or interval is None:
        return None
    lo, hi = interval
    if definition.difference_unit == "points":
        lo, hi = np.clip(interval, -MAX_DIFFERENCE, MAX_DIFFERENCE).tolist()
    lo = min(lo, mean.lo)
    hi = max(hi, mean.hi)
    # This interval is over shifts, not over groups of images.
    return replace(mean, lo=lo, hi=hi, p=None, groups=0)


def shifts_in_mean(summary: Summary, metric: Metric) -> tuple[str, ...]:
    """Return the shifts in the mean of `metric`, on which it was measured.

    If it needs a line, the line must explain at least the share `EXPLAINED` of the variance.
    """
    if metric.needs_lines:
        lines = summary.lines
        return tuple(shift for shift in summary.shifts if shift in lines and lines[shift].r2 >= EXPLAINED)
    first = summary.arms[0]
    return tuple(shift for shift in summary.shifts if summary.find(metric.name, first, shift) is not None)


def _sets_in(summary: Summary, test_set: str) -> tuple[str, ...]:
    """Return the test sets of a mean over shifts, or the one test set."""
    if test_set == MEAN_OF_SHIFTS:
        return summary.shifts
    return (test_set,)


def guessing(summary: Summary, test_set: str = MEAN_OF_SHIFTS) -> float:
    """Return the top-1 accuracy of guessing on a test set, in percent; for the mean, the mean over its shifts."""
    sets = _sets_in(summary, test_set)
    rates = [100 / summary.score("top1", summary.arms[0], name).classes for name in sets]
    return sum(rates) / len(sets)


def most_frequent(summary: Summary, test_set: str = MEAN_OF_SHIFTS) -> float:
    """Return the no-information rate, in percent: the share of the most frequent class, or guessing if that is higher.

    For the mean, it is the mean over its shifts.
    """
    sets = _sets_in(summary, test_set)
    rates = [max(guessing(summary, name), summary.commonest.get(name, 0)) for name in sets]
    return sum(rates) / len(sets)


def best_guess(summary: Summary, test_set: str = MEAN_OF_SHIFTS) -> str:
    """Name the guess that reaches `most_frequent`: "guessing", or "always predicting the most frequent class"."""
    if number(guessing(summary, test_set)) == number(most_frequent(summary, test_set)):
        return "guessing"
    return "always predicting the most frequent class"


def guessing_in_words(summary: Summary, test_set: str = MEAN_OF_SHIFTS) -> str:
    """Write the accuracy of the best guess: "guessing gives 1.0 %"."""
    return f"{best_guess(summary, test_set)} gives {number(most_frequent(summary, test_set))} %"


def is_above_guessing(summary: Summary, arm: str, test_set: str = MEAN_OF_SHIFTS) -> bool:
    """Return whether the whole interval of an arm's accuracy is above `most_frequent`."""
    return summary.score("top1", arm, test_set).lo > most_frequent(summary, test_set)


def robustness_over(summary: Summary) -> str:
    """Write the shifts of mean effective robustness, "over 5 of the 6 shifts"; "" for all shifts."""
    in_mean = len(shifts_in_mean(summary, find_metric("er")))
    every = len(summary.shifts)
    if in_mean == every:
        return ""
    return f"over {in_mean} of the {count(every, 'shift')}"


def row_name(summary: Summary, arm: str) -> str:
    """Return the name of a row, marked if it is a model that was trained elsewhere or started from one.

    A group is marked if any of its arms started from one.
    """
    if arm in summary.trained_elsewhere:
        return f"{arm} {ELSEWHERE}"
    members = {arm, *summary.groups.get(arm, ())}
    if members & set(summary.pretrained):
        return f"{arm} {STARTED}"
    return arm


def marks(summary: Summary) -> str:
    """Return the meaning of the marks of `row_name`, as sentences; "" without any."""
    notes = []
    if summary.trained_elsewhere:
        notes.append(f"{ELSEWHERE} trained on other data.")
    if set(summary.pretrained) & set(summary.arms):
        notes.append(f"{STARTED} started from a pretrained network: compare these with each other.")
    return " ".join(notes)


def references(summary: Summary) -> list[str]:
    """Return the arms and groups that others are compared with, each once."""
    named = ((arm, summary.reference_of(arm)) for arm in summary.arms)
    return list(dict.fromkeys(other for arm, other in named if other != arm))


def compared_with(summary: Summary) -> str:
    """Name the reference for a heading: the only one, or "each arm's reference"."""
    names = references(summary)
    return names[0] if len(names) == 1 else "each arm's reference"


def caveat(summary: Summary) -> str:
    """Return the limits of the intervals, by the number of seeds."""
    seeds = len(summary.seeds)
    tests = (summary.clean, *summary.shifts)
    has_groups = [summary.score("top1", summary.arms[0], test).groups > 0 for test in tests]
    over = "images"
    if all(has_groups):
        over = "groups of images"
    elif any(has_groups):
        over = "images or known groups of them"
    if seeds == 1:
        return (
            f"One seed: the 95 % intervals are over {over}, not over training runs. Another training run may give "
            "another result. Run three seeds."
        )
    if seeds == 2:
        few = " Two seeds say little about other training runs: use three or more."
    else:
        few = ""
    return f"The 95 % intervals are over {over} and {seeds} seeds.{few}"
