"""The section on the cost of accuracy: the plot of accuracy against the time that one worker takes to make each arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from genrobust.core import MEAN_OF_SHIFTS, ArmRecord, StudyRecord
from genrobust.report.nouns import Plot, ReportSection
from genrobust.report.plots import PLOT_BOX, Mark, axis
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import MINUTE, duration, number, span

HOUR = 3600
TICKS = (  # seconds, those first that are labeled first
    *(1, 10, MINUTE, 10 * MINUTE, *(HOUR * 10**power for power in range(5))),
    *(30, 30 * MINUTE, 3, 3 * MINUTE, *(3 * HOUR * 10**power for power in range(4))),
    *(2, 5, 20, 2 * MINUTE, 5 * MINUTE, 20 * MINUTE, *(t * HOUR * 10**power for power in range(4) for t in (2, 5))),
    *(15, 45, 90, 4 * MINUTE, 6 * MINUTE, 8 * MINUTE, 15 * MINUTE, 45 * MINUTE, 4 * HOUR, 6 * HOUR, 8 * HOUR),
)
WIDE_PLOT_BOX = {**PLOT_BOX, "width": 640, "right": 626}
GAP = 52  # SVG units between the labels of times, so that they do not touch


@SECTIONS.register("cost")
def cost(view: ReportView) -> ReportSection | None:
    """Return the plot of accuracy against time; None where the times of two arms are not known."""
    plot = cost_plot(view.record)
    if plot is None:
        return None
    legend = [(name, look) for name, look, *_ in plot["series"]]
    drawn = Plot("cost", "costs_of_arms", (plot, view.looks), plot["box"], legend, description=plot["description"])
    return ReportSection(
        title="What it costs",
        order=90,
        label="Cost",
        lead=f"Top-1, {plot['test_set']}, against the time that one worker takes to generate all images of an arm "
        "and to train it once.",
        plots=[drawn],
        note="By the rates that the study measured here; what several arms share counts in full for each. Lines join "
        "arms that differ in the number of steps alone.",
        forms=("html",),
    )


def cost_plot(record: StudyRecord) -> dict[str, Any] | None:
    """Plot top-1, the mean of the shifts, against the seconds of each arm on a log axis; None where these are unknown.

    Ticks pair a position in SVG units with a label. "series" are the arms that differ in the number of steps alone, or
    a single arm: each has a name, the arm whose look it has, marks as in `scatter`, and the SVG path through them.
    """
    summary = record.summary
    test_set = MEAN_OF_SHIFTS if summary.shifts else summary.clean
    seconds = {arm.name: sum(arm.seconds.values()) for arm in record.arms if arm.seconds and arm.name in summary.arms}
    if len(seconds) < 2:
        return None
    scores = {arm: summary.score("top1", arm, test_set) for arm in seconds}
    percent, y_ticks = axis([(score.lo, score.hi) for score in scores.values()])
    box = WIDE_PLOT_BOX
    low, high = math.log(min(seconds.values()) / 1.3), math.log(max(seconds.values()) * 1.3)

    def x(seconds: float) -> float:
        return round(box["left"] + (box["right"] - box["left"]) * (math.log(seconds) - low) / (high - low), 2)

    def y(value: float) -> float:
        return round(box["bottom"] - (box["bottom"] - box["top"]) * percent(value) / 100, 2)

    marks = [
        Mark(
            x(seconds[arm]),
            y(score.value),
            f"{arm}: {number(score.value)} % ({span(score)}), {duration(seconds[arm])}",
            arm,
            True,
            (y(score.lo), y(score.hi)),
        )
        for arm, score in scores.items()
    ]
    marks_by_arm = {mark.arm: mark for mark in marks}
    series = [
        (_common_name(arms), arms[0], [marks_by_arm[arm] for arm in arms])
        for arms in _group_by_setup(record.arms, seconds)
    ]
    return {
        "test_set": test_set,
        "series": [
            (*names, series_marks, "M" + "L".join(f"{m.x} {m.y}" for m in series_marks))
            for *names, series_marks in series
        ],
        "box": box,
        "x_ticks": _fitting_ticks([(x(t), _tick_label(t)) for t in TICKS if low <= math.log(t) <= high]),
        "y_ticks": [(y(tick), tick) for _, tick in y_ticks],
        "description": f"Top-1 on the {test_set} against time. {'; '.join(mark.label for mark in marks)}.",
    }


def _group_by_setup(arms: Sequence[ArmRecord], seconds: dict[str, float]) -> list[list[str]]:
    """The arms that differ in nothing but their steps, from the fewest on."""
    groups: dict[tuple[object, ...], list[ArmRecord]] = {}
    for arm in arms:
        if arm.name in seconds:
            key = *sorted(arm.parts.items()), arm.architecture, arm.augmentation, arm.batch_size, arm.alike
            groups.setdefault(key, []).append(arm)
    return [[arm.name for arm in sorted(group, key=lambda arm: arm.steps)] for group in groups.values()]


def _common_name(arms: Sequence[str]) -> str:
    """Return the words that the names of `arms` begin with: "real" for "real, 300 steps" and "real, 600 steps"."""
    if len(arms) == 1:
        return arms[0]
    common = "".join(
        letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, zip(*arms, strict=False))
    )
    return common.rpartition(" ")[0].rstrip(",:;- (") or arms[0]  # words that all of them have in full


def _fitting_ticks(candidates: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """The ticks that fit, by their place; of two that would touch, the first one."""
    ticks: list[tuple[float, str]] = []
    for position, label in candidates:
        if all(abs(position - other) >= GAP for other, _ in ticks):
            ticks.append((position, label))
    return sorted(ticks)


def _tick_label(seconds: int) -> str:
    if seconds < MINUTE:
        return f"{seconds} s"
    return f"{seconds / MINUTE:g} min" if seconds < HOUR else f"{seconds // HOUR:,} h"
