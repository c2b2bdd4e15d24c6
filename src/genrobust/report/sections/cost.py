"""The section on cost: the minutes that it takes to make each arm, stage by stage, and its accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain, product

from genrobust.core import ArmRecord
from genrobust.report.accuracy_lanes import axis
from genrobust.report.report_section import Column, Entry, Plot, ReportSection, Table
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.scatter_plots import Mark
from genrobust.report.wording import MINUTE, interval_ends, number, span

# There is a plot if the most expensive arm costs this many times as much as the cheapest. Rates of stages vary by some
# percents.
MIN_RATIO = 1.2
# The time axis ends this many times below the shortest and above the longest time.
MARGIN = 1.3
# Ticks of the time axis, in minutes. The first ones are labeled first.
TICKS = [factor * 10**power for factor, power in product((1, 3, 2, 5), range(-2, 9))]
# Percent of the axis between labels, so that they do not touch.
GAP = 14
BOX = {"width": 640, "height": 292, "left": 44, "right": 624, "top": 8, "bottom": 252}
# The stage in the last column.
LAST = "train"
COUNTED = (
    "By the rates measured here. Not counted: collecting and labeling real and retrieved images, drawing generated "
    "images that were given, packing, and training a generator that was not trained here."
)


@SECTIONS.register("cost")
def cost(view: ReportView) -> ReportSection | None:
    """Return the minutes of each arm, with a plot if they differ. None if none are known.

    They are core-minutes, or device-minutes if the device is no CPU.
    """
    record = view.record
    unit = "core-minutes" if record.on_cores else "device-minutes"
    arms = [arm for arm in record.arms if arm.seconds]
    if not arms:
        return None
    total = {arm.name: sum(_minutes(arm).values()) for arm in arms}
    plots = []
    if max(total.values()) > MIN_RATIO * min(total.values()):
        plots.append(_plot(view, total, unit))
    return ReportSection(
        title="What it costs",
        order=90,
        label="Cost",
        lead=f"{unit.capitalize()} to make one arm with one seed: its generator, its images and its classifier. Work "
        "that several arms share counts in full for each.",
        tables=[_table(view, arms, unit)],
        plots=plots,
        note=COUNTED,
    )


def _minutes(arm: ArmRecord) -> dict[str, float]:
    return {stage: seconds / MINUTE for stage, seconds in arm.seconds.items()}


def _table(view: ReportView, arms: Iterable[ArmRecord], unit: str) -> Table:
    """Return the accuracy on the leading test set, all minutes, and the minutes of each stage."""
    minutes = {arm.name: _minutes(arm) for arm in arms}
    stages = dict.fromkeys(chain.from_iterable(minutes.values()))
    ordered = sorted(stages, key=lambda stage: stage == LAST)
    top1 = view.tables["top1"]
    leading = [column.name for column in top1.columns].index(view.summary.leading)
    accuracy = {name: entries[leading] for name, entries in top1.rows}
    rows = []
    for name, of_arm in minutes.items():
        entries = [accuracy[name], _minutes_entry(sum(of_arm.values()))]
        entries += [_minutes_entry(of_arm.get(stage)) for stage in ordered]
        rows.append((name, tuple(entries)))
    columns = [replace(top1.columns[leading], kind="mean"), Column("all", unit)]
    columns += [Column(stage, unit) for stage in ordered]
    return Table(tuple(columns), tuple(rows), f"Top-1 accuracy, percent, and {unit}")


def _minutes_entry(minutes: float | None) -> Entry:
    if minutes is None:
        return Entry(None)
    return Entry(minutes, _format_minutes(minutes))


def _format_minutes(minutes: float) -> str:
    return number(minutes, digits=1 if minutes < 100 else 0)


def _plot(view: ReportView, total: Mapping[str, float], unit: str) -> Plot:
    """Plot top-1 against the minutes of each arm on a log axis."""
    leading = view.summary.leading
    scores = {name: view.summary.score("top1", name, leading) for name in total}
    percent, ticks = axis([interval_ends(score) for score in scores.values()])
    low = math.log(min(total.values()) / MARGIN)
    high = math.log(max(total.values()) * MARGIN)

    def x(minutes: float) -> float:
        return round(100 * (math.log(minutes) - low) / (high - low), 2)

    def y(value: float) -> float:
        return round(BOX["bottom"] - (BOX["bottom"] - BOX["top"]) * percent(value) / 100, 2)

    marks = []
    for name, score in scores.items():
        label = f"{name}: {number(score.value)} % ({span(score)}), {_format_minutes(total[name])} {unit}"
        lo, hi = interval_ends(score)
        marks.append(Mark(x(total[name]), y(score.value), label, arm=name, mean=True, whisker=(y(lo), y(hi))))
    inside = [tick for tick in TICKS if low <= math.log(tick) <= high]
    shared = {
        "x_ticks": _fitting_ticks((x(tick), f"{tick:,g}") for tick in inside),
        "y_ticks": [(y(tick), tick) for _, tick in ticks],
    }
    described = "; ".join(mark.label for mark in marks)
    axis_titles = (f"{unit}, log scale", leading)
    return Plot(
        title="cost",
        macro="costs_of_arms",
        parts=[(BOX["height"], (shared, marks, BOX, view.looks, axis_titles))],
        box=BOX,
        legend=[(name, name) for name in total],
        description=f"Top-1, {leading}, against {unit}. {described}.",
        heading=f"Top-1, {leading}, against {unit}",
        stretches=True,
    )


def _fitting_ticks(candidates: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return the ticks that fit, by position. Of two that would touch, the first candidate is kept."""
    ticks: list[tuple[float, str]] = []
    for position, label in candidates:
        if all(abs(position - other) >= GAP for other, _ in ticks):
            ticks.append((position, label))
    return sorted(ticks)
