"""The report's plots as geometry: where every mark, tick and line lies. The template draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from genrobust.core import BaselineModel, Line, StudyRecord, Summary
from genrobust.report.nouns import Plot
from genrobust.report.wording import EN_DASH, number, span, without_looking
from genrobust.robustness import to_scale

# Shapes of radius 1 about the origin, of about one area, distinct without color.
SHAPES = (
    "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z",  # circle
    "M-.9-.9H.9V.9H-.9z",  # square
    "M0-1.3L1.3 0 0 1.3-1.3 0z",  # diamond
    "M0-1.25L1.2.9H-1.2z",  # triangle
    "M0 1.25L1.2-.9H-1.2z",  # triangle, upside down
    "M-.45-1.2h.9v.75h.75v.9h-.75v.75h-.9v-.75h-.75v-.9h.75z",  # plus
)
MOST = 10  # arms in a plot, of which each has a name beside it
NARROWEST = 10  # points that an axis of accuracies spans at the least
COLORS = 7  # so many --arm-N colors the style sheet has; with six shapes, 42 arms look different


Look = dict[str, int | str]


def looks(summary: Summary) -> dict[str, Look]:
    """Return a color's index and a shape's path for each arm, by its number in the study.

    A group has those of its first arm.
    """
    of_arms: dict[str, Look] = {
        arm: {"color": i % COLORS, "shape": SHAPES[i % len(SHAPES)]} for i, arm in enumerate(summary.arms)
    }
    return of_arms | {group: of_arms[members[0]] for group, members in summary.groups.items()}


def pictured(summary: Summary, arm: str) -> tuple[list[str], list[str]]:
    """Return the arms that plots show, and the others, the best on the mean of the shifts, or the clean set, first.

    Plots show all of a few arms. Of many, they show the answer's `arm` and its reference, or the members of these where
    they are groups, and the best.
    """
    ranked = sorted(summary.arms, key=lambda name: -summary.score("top1", name, summary.leading).value)
    named = [arm, summary.reference_of(arm)] if arm else []
    shown = {member for name in named for member in summary.groups.get(name, (name,))}
    shown.update([name for name in ranked if name not in shown][: max(0, MOST - len(shown))])
    return [name for name in ranked if name in shown], [name for name in ranked if name not in shown]


@dataclass(frozen=True, slots=True)
class Lane:
    """An accuracy on an axis: places in percent of its length, and a label.

    `whisker` are the ends of the interval, or, where that is over few groups of images and says little, those of the
    groups, which are then `groups`.
    """

    arm: str
    at: float
    whisker: tuple[float, float]
    label: str
    groups: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Lanes:
    """Accuracies on one axis.

    Attributes:
        rows: The lanes of each test set, a lane an arm.
        ticks: Pairs a position, in percent of the axis, with its percents.
        guessing: The position of what one reaches `without_looking` on each test set, where it is on the axis.
    """

    rows: Mapping[str, Sequence[Lane]]
    ticks: Sequence[tuple[float, int]]
    guessing: Mapping[str, float]


def lanes(summary: Summary, arms: Sequence[str], test_sets: Sequence[str], with_guessing: bool = False) -> Lanes:
    """Return the top-1 of `arms` on `test_sets`, on one linear axis, which reaches guessing if `with_guessing`."""
    chance = {test: without_looking(summary, test) for test in test_sets}
    ends = {(arm, test): accuracy_range(summary, arm, test) for arm in arms for test in test_sets}
    position, ticks = axis([*ends.values(), *((rate, rate) for rate in chance.values() if with_guessing)])

    def lane(arm: str, test: str) -> Lane:
        score, (lo, hi) = summary.score("top1", arm, test), ends[arm, test]
        groups = summary.by_group.get(test, {}).get(arm, ())
        words = f"its {len(groups)} groups {', '.join(map(number, groups))}" if groups else span(score)
        label = f"{arm}: {number(score.value)} % ({words})"
        return Lane(arm, position(score.value), (position(lo), position(hi)), label, tuple(map(position, groups)))

    rows = {test: [lane(arm, test) for arm in arms] for test in test_sets}
    return Lanes(rows, ticks, {test: at for test, rate in chance.items() if 0 <= (at := position(rate)) <= 100})


def accuracy_range(summary: Summary, arm: str, test_set: str) -> tuple[float, float]:
    """Return the ends of the interval of a top-1, or those of its groups of images where these are few."""
    score, groups = summary.score("top1", arm, test_set), summary.by_group.get(test_set, {}).get(arm)
    return (min(groups), max(groups)) if groups else (score.lo, score.hi)


def axis(
    ends: Collection[tuple[float, float]],
) -> tuple[Callable[[float], float], tuple[tuple[float, int], ...]]:
    """Return a linear axis over all of `ends`, cut to whole steps: the position of a value, and its ticks.

    Positions are in percent of the axis' length.
    """
    least, most = _widened(min(lo for lo, _ in ends), max(hi for _, hi in ends))
    step = next((step for step in (2, 5, 10) if most - least <= 6 * step), 20)
    low, high = step * math.floor(least / step), step * math.ceil(most / step)

    def position(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    return position, tuple((position(t), t) for t in range(low, high + 1, step))


def _widened(least: float, most: float) -> tuple[float, float]:
    """Widen a range of percents to `NARROWEST` points about its middle, between 0 and 100."""
    if most - least >= NARROWEST:
        return least, most
    low = min(max((least + most - NARROWEST) / 2, 0), 100 - NARROWEST)
    return low, low + NARROWEST


# A panel's size and where its axes lie, in SVG units, which are about CSS pixels.
PLOT_BOX = {"width": 320, "height": 292, "left": 38, "right": 312, "top": 8, "bottom": 252}
LINEAR = "linear"  # the scale of plots without a baseline line
FARTHEST = 1  # percents from 0 and 100, to which an interval widens an axis that never ends there
TICK_GAP = 26  # SVG units between labels, so that they do not touch
LINEAR_TICKS = tuple(range(0, 101, step) for step in (1, 2, 5, 10, 20, 50))
TICK_SETS = (
    range(1, 100),
    (1, 2, *range(4, 98, 2), 98, 99),
    (1, 2, *range(5, 96, 5), 98, 99),
    (1, 2, 5, *range(10, 91, 10), 95, 98, 99),
    (1, 5, 10, 20, 35, 50, 65, 80, 90, 95, 99),
    (1, 5, 20, 50, 80, 95, 99),
    (1, 10, 50, 90, 99),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A point: x, y in SVG units and its label. For an arm, `arm` names it and `mean` says whether it is over seeds."""

    x: float
    y: float
    label: str
    arm: str = ""
    mean: bool = False
    whisker: tuple[float, float] | None = None  # y of the interval's ends


class _Axis:
    """Percents to SVG units on one scale, from `start` to `end` with a margin about all of `values`."""

    def __init__(self, values: Collection[float], scale: str, start: float, end: float) -> None:
        self.scale = scale
        low, high = map(self.transformed, _widened(min(values), max(values)))
        pad = 0.06 * (high - low)
        self.low, self.high = low - pad, high + pad
        self.start, self.end = start, end

    def transformed(self, percent: float) -> float:
        """On the axis' scale; 0 % and 100 %, which have no finite place on most, come to lie at its edge."""
        edge = 0 if self.scale == LINEAR else 0.3
        return float(to_scale(self.scale, min(max(percent, edge), 100 - edge) / 100))

    def position(self, percent: float) -> float:
        return self.unit(self.transformed(percent))

    def unit(self, transformed: float) -> float:
        inside = min(max(transformed, self.low), self.high)
        return round(self.start + (self.end - self.start) * (inside - self.low) / (self.high - self.low), 2)

    def ticks(self) -> tuple[tuple[float, int], ...]:
        """As many round percents as fit."""
        for candidates in LINEAR_TICKS if self.scale == LINEAR else TICK_SETS:
            shown = [(self.position(t), t) for t in candidates if self.low <= self.transformed(t) <= self.high]
            gaps = [abs(b[0] - a[0]) for a, b in pairwise(shown)]
            if not gaps or min(gaps) >= TICK_GAP:
                break
        return tuple(shown)


def scatter(
    record: StudyRecord,
    arms: Sequence[str],
    macro: str,
    looks: Mapping[str, Look],
    legend: Sequence[tuple[str, str]] = (),
    of: str = "",
) -> list[Plot]:
    """Plot shifted against clean accuracy of `arms`, a plot for every shift, all on the same axes.

    The arguments of `macro` are what the plots share, a panel, the box and `looks`. Ticks pair a position in SVG units
    with percents, "diagonal" is y = x. A panel's paths are in SVG units too: that through the means of all arms, and
    those of the line, empty where there is none; the band is the line plus and minus two residual standard deviations
    of the baselines.
    """
    summary = record.summary
    shifts = [*summary.shifts, *summary.left_out]
    if not shifts:
        return []
    points = {shift: _points(summary, arms, shift) for shift in shifts}
    models = [b for b in record.baselines if b.test_set in shifts]
    scale = next((line.transform for line in summary.lines.values()), LINEAR)
    pairs = [pair for of_shift in points.values() for of_arm in of_shift.values() for pair in of_arm]
    ends = [end for shift in shifts for arm in arms for end in accuracy_range(summary, arm, shift)]
    ends = [min(max(end, FARTHEST), 100 - FARTHEST) for end in ends] if scale != LINEAR else ends
    x = _Axis([x for x, _ in pairs] + [b.clean for b in models], scale, PLOT_BOX["left"], PLOT_BOX["right"])
    ys = [y for _, y in pairs] + [b.shifted for b in models] + ends
    y = _Axis(ys, scale, PLOT_BOX["bottom"], PLOT_BOX["top"])
    panels = [
        _panel(summary, shift, points[shift], [b for b in models if b.test_set == shift], (x, y)) for shift in shifts
    ]
    shared = {"x_ticks": x.ticks(), "y_ticks": y.ticks(), "diagonal": _diagonal(x, y), "scale": scale}
    return [
        Plot(
            title=f"{of}, {panel['name']}" if of else panel["name"],
            macro=macro,
            parts=[(PLOT_BOX["height"], (shared, panel, PLOT_BOX, looks))],
            box=PLOT_BOX,
            legend=legend,
            note=panel["note"],
            description=panel["description"],
            heading=f"{of}{', ' if of else ''}{panel['name']}{'†' if panel['name'] in summary.left_out else ''}",
            keys=[key for key, is_drawn in panel["keys"].items() if is_drawn],
        )
        for panel in panels
    ]


def _points(summary: Summary, arms: Sequence[str], shift: str) -> dict[str, list[tuple[float, float]]]:
    """The clean and shifted accuracies of each arm, by seed, over the same classes."""
    return {
        arm: [
            (
                summary.score("top1", arm, summary.paired[shift], seed).value,
                summary.score("top1", arm, shift, seed).value,
            )
            for seed in summary.seeds
        ]
        for arm in arms
    }


def _diagonal(x: _Axis, y: _Axis) -> str:
    """The line of equal accuracies as an SVG path, "" where it lies outside."""
    low, high = max(x.low, y.low), min(x.high, y.high)
    return f"M{x.unit(low)} {y.unit(low)}L{x.unit(high)} {y.unit(high)}" if low < high else ""


def _panel(
    summary: Summary,
    shift: str,
    points: dict[str, list[tuple[float, float]]],
    models: Sequence[BaselineModel],
    axes: tuple[_Axis, _Axis],
) -> dict[str, Any]:
    x, y = axes
    line = summary.lines.get(shift)
    marks = []
    for arm, of_arm in points.items():
        for seed, (clean, shifted) in zip(summary.seeds if len(of_arm) > 1 else (), of_arm, strict=False):
            label = f"{arm}, seed {seed}: clean {number(clean)} %, {shift} {number(shifted)} %"
            marks.append(Mark(x.position(clean), y.position(shifted), label, arm))
        marks.append(_mean_mark(summary, arm, shift, sum(clean for clean, _ in of_arm) / len(of_arm), axes))
    described = "; ".join(mark.label for mark in marks if mark.mean)
    baselines = [
        Mark(x.position(b.clean), y.position(b.shifted), f"{b.model}: clean {number(b.clean)} %, {number(b.shifted)} %")
        for b in models
    ]
    fitted, beyond, band = _line_paths(line, x, y) if line else ("", "", "")
    return {
        "name": shift,
        "note": f"R² {line.r2:.2f}, {line.n} baselines" if line else "no baselines" if summary.lines else "",
        "description": f"Accuracy on {shift} against clean accuracy. {described}.",
        "fitted": fitted,
        "beyond": beyond,
        "band": band,
        "keys": {"baseline": models, "line": fitted or beyond, "diagonal": _diagonal(x, y)},
        "baselines": baselines,
        "marks": marks,
        "path": "M" + "L".join(f"{mark.x} {mark.y}" for mark in marks if mark.mean),
    }


def _mean_mark(summary: Summary, arm: str, shift: str, clean: float, axes: tuple[_Axis, _Axis]) -> Mark:
    x, y = axes
    score, er = summary.score("top1", arm, shift), summary.find("er", arm, shift)
    lo, hi = accuracy_range(summary, arm, shift)
    label = f"{arm}: clean {number(clean)} %, {shift} {number(score.value)} % ({number(lo)}{EN_DASH}{number(hi)})"
    label += f", effective robustness {number(er.value, True)} ({span(er, True)})" if er else ""
    return Mark(x.position(clean), y.position(score.value), label, arm, True, (y.position(lo), y.position(hi)))


def _line_paths(line: Line, x: _Axis, y: _Axis) -> tuple[str, str, str]:
    """The line where it was fitted, the line beyond that, and the band, cut to the plot: SVG paths.

    The line is straight in the axes' scale, which is its own.
    """

    def at(t: float, off: float = 0.0) -> float:
        return line.intercept + line.slope * t + off * line.residual_sd

    def path(low: float, high: float) -> str:
        ts = np.linspace(low, high, 60)  # points, so that a line that leaves the plot is cut and not bent
        inside = [t for t in ts if y.low <= at(t) <= y.high]
        return "M" + "L".join(f"{x.unit(t)} {y.unit(at(t))}" for t in (inside[0], inside[-1])) if inside else ""

    low, high = (min(max(x.transformed(percent), x.low), x.high) for percent in (line.lo, line.hi))
    ts = np.linspace(low, high, 60)
    upper = [f"{x.unit(t)} {y.unit(at(t, 2))}" for t in ts]
    lower = [f"{x.unit(t)} {y.unit(at(t, -2))}" for t in reversed(ts)]
    return path(low, high), path(x.low, low) + path(high, x.high), "M" + "L".join([*upper, *lower]) + "z"
