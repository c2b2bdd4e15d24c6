"""Plots of shifted against clean accuracy as geometry: positions of marks, ticks and lines. The template draws them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from genrobust.core import BaselineModel, Line, StudyRecord, Summary
from genrobust.report.accuracy_lanes import accuracy_range, widen_range
from genrobust.report.arm_looks import Look
from genrobust.report.report_section import Plot
from genrobust.report.wording import EN_DASH, number, span
from genrobust.robustness import to_scale

# A panel's size and the ends of its axes, in SVG units, which are about CSS pixels.
PLOT_BOX = {"width": 320, "height": 292, "left": 38, "right": 312, "top": 8, "bottom": 252}
# The scale of plots without a baseline line.
LINEAR = "linear"
# On other scales, an interval widens an axis up to this many percents from 0 and 100, which are infinitely far.
NEAREST_TO_END = 1
# On other scales, 0 % and 100 % are shown this many percents inside.
EDGE = 0.3
# An axis is longer than its values by this share, at both ends.
MARGIN = 0.06
# SVG units between labels, so that they do not touch.
TICK_GAP = 26
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
# Points of a line, so that a line that leaves the plot is cut and not bent.
LINE_POINTS = 60
# Half the width of the band about a line, in residual standard deviations.
BAND = 2
# Clean and shifted accuracies of an arm, by seed.
Accuracies = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Mark:
    """A point in a plot.

    Attributes:
        x: In SVG units, or in percent of the width of a plot that stretches.
        y: In SVG units.
        arm: The arm, "" for a baseline model.
        mean: Whether it is the mean over seeds.
        whisker: y of the interval's ends.
    """

    x: float
    y: float
    label: str
    arm: str = ""
    mean: bool = False
    whisker: tuple[float, float] | None = None


class _Axis:
    """An axis that maps percents to SVG units on one scale, from `start` to `end`, with a margin about all `values`."""

    def __init__(self, values: Collection[float], scale: str, start: float, end: float) -> None:
        self.scale = scale
        least, most = widen_range(min(values), max(values))
        low, high = self.transform(least), self.transform(most)
        margin = MARGIN * (high - low)
        self.low, self.high = low - margin, high + margin
        self.start, self.end = start, end

    def transform(self, percent: float) -> float:
        """Return a percent on the axis' scale. 0 % and 100 %, which are infinite on most, are moved to its edge."""
        edge = 0 if self.scale == LINEAR else EDGE
        inside = min(max(percent, edge), 100 - edge)
        return float(to_scale(self.scale, inside / 100))

    def position(self, percent: float) -> float:
        """Return the SVG unit of a percent."""
        return self.unit(self.transform(percent))

    def unit(self, transformed: float) -> float:
        """Return the SVG unit of a value on the axis' scale. Values outside are at the ends of the axis."""
        share = (self.cut(transformed) - self.low) / (self.high - self.low)
        return round(self.start + (self.end - self.start) * share, 2)

    def cut(self, transformed: float) -> float:
        """Return a value on the axis' scale, moved to the end of the axis if it is outside."""
        return min(max(transformed, self.low), self.high)

    def ticks(self) -> tuple[tuple[float, int], ...]:
        """Return positions with their percents: as many round percents as fit."""
        shown: list[tuple[float, int]] = []
        for candidates in LINEAR_TICKS if self.scale == LINEAR else TICK_SETS:
            inside = [tick for tick in candidates if self.low <= self.transform(tick) <= self.high]
            shown = [(self.position(tick), tick) for tick in inside]
            gaps = [abs(b - a) for (a, _), (b, _) in pairwise(shown)]
            if not gaps or min(gaps) >= TICK_GAP:
                break
        return tuple(shown)


@dataclass(frozen=True, slots=True)
class _Axes:
    """The axes of clean (x) and of shifted accuracy (y), the same for all shifts."""

    x: _Axis
    y: _Axis

    @property
    def diagonal(self) -> str:
        """The line of equal accuracies as an SVG path, "" if it is outside."""
        low, high = max(self.x.low, self.y.low), min(self.x.high, self.y.high)
        if low >= high:
            return ""
        return f"M{self.x.unit(low)} {self.y.unit(low)}L{self.x.unit(high)} {self.y.unit(high)}"


@dataclass(frozen=True, slots=True)
class ScatterStyle:
    """The drawing of scatter plots.

    Attributes:
        macro: The macro of plots.svg.j2 that draws a panel.
        looks: The look of each arm.
        legend: Names, each with the arm whose look it has.
        name: The first words of every title, for example the name of an arm.
    """

    macro: str
    looks: Mapping[str, Look]
    legend: Sequence[tuple[str, str]] = ()
    name: str = ""


def scatter(record: StudyRecord, arms: Sequence[str], style: ScatterStyle) -> list[Plot]:
    """Plot shifted against clean accuracy of `arms`, one plot for every shift, all on the same axes.

    The arguments of the macro are the facts that plots share, a panel, the box and the looks. Ticks are positions in
    SVG units with percents, "diagonal" is y = x. A panel's paths are in SVG units too: one through the means of all
    arms, and three of the line, empty without a line; the band is the line plus and minus two residual standard
    deviations of the baselines.
    """
    summary = record.summary
    shifts = [*summary.shifts, *summary.left_out]
    if not shifts:
        return []
    scales = [line.transform for line in summary.lines.values()]
    scale = scales[0] if scales else LINEAR
    axes = _fit_axes(record, arms, shifts, scale)
    shared = {"x_ticks": axes.x.ticks(), "y_ticks": axes.y.ticks(), "diagonal": axes.diagonal, "scale": scale}
    plots = []
    for shift in shifts:
        panel = _panel(record, arms, shift, axes)
        title = f"{style.name}, {shift}" if style.name else shift
        dagger = "†" if shift in summary.left_out else ""
        plot = Plot(
            title=title,
            macro=style.macro,
            parts=[(PLOT_BOX["height"], (shared, panel, PLOT_BOX, style.looks))],
            box=PLOT_BOX,
            legend=style.legend,
            note=panel["note"],
            description=panel["description"],
            heading=f"{title}{dagger}",
            keys=[key for key, is_drawn in panel["keys"].items() if is_drawn],
        )
        plots.append(plot)
    return plots


def _fit_axes(record: StudyRecord, arms: Sequence[str], shifts: Sequence[str], scale: str) -> _Axes:
    """Return axes that show all accuracies of `arms` and baselines, and the intervals of shifted accuracies."""
    models = [model for model in record.baselines if model.test_set in shifts]
    clean = [model.clean for model in models]
    shifted = [model.shifted for model in models]
    for shift in shifts:
        for arm in arms:
            for of_clean, of_shift in _accuracies(record.summary, arm, shift):
                clean.append(of_clean)
                shifted.append(of_shift)
            for end in accuracy_range(record.summary, arm, shift):
                if scale != LINEAR:
                    end = min(max(end, NEAREST_TO_END), 100 - NEAREST_TO_END)
                shifted.append(end)
    return _Axes(
        x=_Axis(clean, scale, PLOT_BOX["left"], PLOT_BOX["right"]),
        y=_Axis(shifted, scale, PLOT_BOX["bottom"], PLOT_BOX["top"]),
    )


def _accuracies(summary: Summary, arm: str, shift: str) -> Accuracies:
    """Return the clean and the shifted accuracy of an arm over the same classes, by seed."""
    pairs = []
    for seed in summary.seeds:
        clean = summary.score("top1", arm, summary.paired[shift], seed).value
        pairs.append((clean, summary.score("top1", arm, shift, seed).value))
    return pairs


def _panel(record: StudyRecord, arms: Sequence[str], shift: str, axes: _Axes) -> dict[str, Any]:
    """Return the marks and paths of one shift."""
    summary = record.summary
    line = summary.lines.get(shift)
    models = [model for model in record.baselines if model.test_set == shift]
    marks = []
    for arm in arms:
        marks += _arm_marks(summary, arm, shift, axes)
    means = [mark for mark in marks if mark.mean]
    paths = _LinePaths("", "", "") if line is None else _line_paths(line, axes)
    note = ""
    if line is not None:
        note = f"R² {line.r2:.2f}, {line.n} baselines"
    elif summary.lines:
        note = "no baselines"
    return {
        "name": shift,
        "note": note,
        "description": f"Accuracy on {shift} against clean accuracy. {'; '.join(mark.label for mark in means)}.",
        "fitted": paths.fitted,
        "beyond": paths.beyond,
        "band": paths.band,
        "keys": {"baseline": models, "line": paths.fitted or paths.beyond, "diagonal": axes.diagonal},
        "baselines": [_baseline_mark(model, axes) for model in models],
        "marks": marks,
        "path": "M" + "L".join(f"{mark.x} {mark.y}" for mark in means),
    }


def _baseline_mark(model: BaselineModel, axes: _Axes) -> Mark:
    label = f"{model.model}: clean {number(model.clean)} %, {number(model.shifted)} %"
    return Mark(axes.x.position(model.clean), axes.y.position(model.shifted), label)


def _arm_marks(summary: Summary, arm: str, shift: str, axes: _Axes) -> list[Mark]:
    """Return a mark for each of several seeds, and one for their mean."""
    accuracies = _accuracies(summary, arm, shift)
    marks = []
    if len(accuracies) > 1:
        for seed, (clean, shifted) in zip(summary.seeds, accuracies, strict=True):
            label = f"{arm}, seed {seed}: clean {number(clean)} %, {shift} {number(shifted)} %"
            marks.append(Mark(axes.x.position(clean), axes.y.position(shifted), label, arm))
    clean = sum(clean for clean, _ in accuracies) / len(accuracies)
    return [*marks, _mean_mark(summary, arm, shift, clean, axes)]


def _mean_mark(summary: Summary, arm: str, shift: str, clean: float, axes: _Axes) -> Mark:
    score = summary.score("top1", arm, shift)
    lo, hi = accuracy_range(summary, arm, shift)
    words = span(score)
    if shift in summary.by_group:
        words = f"{number(lo)}{EN_DASH}{number(hi)}"
    label = f"{arm}: clean {number(clean)} %, {shift} {number(score.value)} % ({words})"
    robustness = summary.find("er", arm, shift)
    if robustness is not None:
        label += f", effective robustness {number(robustness.value, True)} ({span(robustness, True)})"
    return Mark(
        x=axes.x.position(clean),
        y=axes.y.position(score.value),
        label=label,
        arm=arm,
        mean=True,
        whisker=(axes.y.position(lo), axes.y.position(hi)),
    )


@dataclass(frozen=True, slots=True)
class _LinePaths:
    """SVG paths of a baseline line: within the range that it was fitted on, beyond that range, and its band."""

    fitted: str
    beyond: str
    band: str


def _line_paths(line: Line, axes: _Axes) -> _LinePaths:
    """Return the paths of a line, cut to the plot. It is straight on the scale of the axes, which is its own."""
    x, y = axes.x, axes.y

    def height(t: float) -> float:
        return line.intercept + line.slope * t

    def path(low: float, high: float) -> str:
        inside = [t for t in np.linspace(low, high, LINE_POINTS) if y.low <= height(t) <= y.high]
        if not inside:
            return ""
        first, last = inside[0], inside[-1]
        return f"M{x.unit(first)} {y.unit(height(first))}L{x.unit(last)} {y.unit(height(last))}"

    low, high = x.cut(x.transform(line.lo)), x.cut(x.transform(line.hi))
    half = BAND * line.residual_sd
    ts = np.linspace(low, high, LINE_POINTS)
    upper = [f"{x.unit(t)} {y.unit(height(t) + half)}" for t in ts]
    lower = [f"{x.unit(t)} {y.unit(height(t) - half)}" for t in reversed(ts)]
    return _LinePaths(
        fitted=path(low, high),
        beyond=path(x.low, low) + path(high, x.high),
        band="M" + "L".join([*upper, *lower]) + "z",
    )
