"""The section on the cost of accuracy: what each arm takes to make, stage by stage, beside what it reaches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from genrobust.report.nouns import Column, Entry, Plot, ReportSection, Table
from genrobust.report.plots import Mark, axis
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import MINUTE, number, span

DIFFER = 1.2  # times the cheapest arm, that the dearest must cost for a plot: rates of stages vary by some percents
TICKS = [factor * 10**power for factor in (1, 3, 2, 5) for power in range(-2, 9)]  # those first that are labeled first
GAP = 14  # percent of the axis between labels, so that they do not touch
COUNTED = (
    "By the rates measured here. Not counted: collecting and labeling real and retrieved images, drawing generated "
    "ones that were given, packing, and training a generator that was not trained here."
)
BOX = {"width": 640, "height": 292, "left": 44, "right": 624, "top": 8, "bottom": 252}


@SECTIONS.register("cost")
def cost(view: ReportView) -> ReportSection | None:
    """Return the minutes of each arm, with a plot where they differ; None where none are known.

    They are core-minutes, or those of the device where that is no CPU.
    """
    record, summary = view.record, view.summary
    leading = summary.leading
    unit = "core-minutes" if record.on_cores else "device-minutes"
    minutes = {
        arm.name: {stage: seconds / MINUTE for stage, seconds in arm.seconds.items()}
        for arm in record.arms
        if arm.seconds
    }
    if not minutes:
        return None
    total = {name: sum(of_stages.values()) for name, of_stages in minutes.items()}
    plots = [_plot(view, total, unit, leading)] if max(total.values()) > DIFFER * min(total.values()) else []
    return ReportSection(
        title="What it costs",
        order=90,
        label="Cost",
        lead=f"{unit.capitalize()} to make one arm with one seed: its generator, its images and its classifier. What "
        "several arms share counts in full for each.",
        tables=[_table(view, minutes, unit)],
        plots=plots,
        note=COUNTED,
    )


def _table(view: ReportView, minutes: Mapping[str, Mapping[str, float]], unit: str) -> Table:
    stages = sorted(dict.fromkeys(stage for of_stages in minutes.values() for stage in of_stages), key="train".__eq__)
    top1 = view.tables["top1"]
    columns = (replace(top1.columns[0], kind="mean"), Column("all", unit), *(Column(stage, unit) for stage in stages))
    accuracy = {name: entries[0] for name, entries in top1.rows}  # in the leading column
    rows = tuple(
        (
            name,
            (
                accuracy[name],
                _minutes(sum(of_stages.values())),
                *(_minutes(of_stages[stage]) if stage in of_stages else Entry(None) for stage in stages),
            ),
        )
        for name, of_stages in minutes.items()
    )
    return Table(columns, rows, f"Top-1 accuracy, percent, and {unit}")


def _minutes(value: float) -> Entry:
    return Entry(value, number(value, digits=1 if value < 100 else 0))


def _plot(view: ReportView, total: Mapping[str, float], unit: str, leading: str) -> Plot:
    """Plot top-1 against minutes on a log axis."""
    scores = {name: view.summary.score("top1", name, leading) for name in total}
    percent, ticks = axis([(score.lo, score.hi) for score in scores.values()])
    low, high = math.log(min(total.values()) / 1.3), math.log(max(total.values()) * 1.3)

    def x(minutes: float) -> float:
        return round(100 * (math.log(minutes) - low) / (high - low), 2)

    def y(value: float) -> float:
        return round(BOX["bottom"] - (BOX["bottom"] - BOX["top"]) * percent(value) / 100, 2)

    marks = [
        Mark(
            x(total[name]),
            y(score.value),
            f"{name}: {number(score.value)} % ({span(score)}), {_minutes(total[name]).text} {unit}",
            name,
            True,
            (y(score.lo), y(score.hi)),
        )
        for name, score in scores.items()
    ]
    shared = {
        "x_ticks": _fitting_ticks((x(t), f"{t:,g}") for t in TICKS if low <= math.log(t) <= high),
        "y_ticks": [(y(tick), tick) for _, tick in ticks],
    }
    described = "; ".join(mark.label for mark in marks)
    return Plot(
        "cost",
        "costs_of_arms",
        [(BOX["height"], (shared, marks, BOX, view.looks, (f"{unit}, log scale", leading)))],
        BOX,
        [(name, name) for name in total],
        description=f"Top-1 on the {leading} against {unit}. {described}.",
        heading=f"Top-1, {leading}, against {unit}",
        stretches=True,
    )


def _fitting_ticks(candidates: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """The ticks that fit, by their place; of two that would touch, the first one."""
    ticks: list[tuple[float, str]] = []
    for position, label in candidates:
        if all(abs(position - other) >= GAP for other, _ in ticks):
            ticks.append((position, label))
    return sorted(ticks)
