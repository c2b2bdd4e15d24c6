"""The section on any two arms: a matrix of the leading metric, and what the page's script needs for each pair."""

from __future__ import annotations

import json

from genrobust.core import MEAN_OF_SHIFTS, Score, Summary
from genrobust.report.nouns import Column, Entry, ReportSection, Table, template_beside
from genrobust.report.tables import difference_entry
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import is_wide
from genrobust.robustness import find_metric

OPEN_ARMS = 12  # rows of a matrix that is shown before one asks for it


@SECTIONS.register("pairs")
def pairs(view: ReportView) -> ReportSection | None:
    """Return the differences between any two arms, or groups, in top-1 accuracy: row minus column.

    None for fewer than three, or where they were not measured. `data` is JSON for the page's script: "arms", "tests",
    and "pairs", which maps "i,j" (indices of arms) to [value, lo, hi] or null by test set.
    """
    summary, metric = view.overview, find_metric("top1")
    arms, leading = summary.arms, MEAN_OF_SHIFTS if summary.shifts else summary.clean
    scores = {(arm, other): summary.difference("top1", arm, other, leading) for arm in arms for other in arms}
    if len(arms) < 3 or not any(scores.values()):
        return None
    entries = {pair: difference_entry(score, metric) for pair, score in scores.items()}
    entries |= {(arm, arm): Entry(None, "") for arm in arms}
    rows = tuple((arm, tuple(entries[arm, other] for other in arms)) for arm in arms)
    columns = tuple(Column(arm, kind="pair") for arm in arms)
    matrix = Table(columns, rows, f"Top-1 accuracy, {leading}: row minus column, points")
    is_expanded = len(arms) <= OPEN_ARMS
    return ReportSection(
        title="Any two arms",
        order=60,
        lead="Row minus column, paired by image and seed, in points of top-1 accuracy. Gray where the interval "
        "includes zero.",
        tables=[matrix] if is_expanded else [],
        template=template_beside(__file__),
        values={"matrix": matrix, "data": _data(summary, leading), "is_expanded": is_expanded},
    )


def _data(summary: Summary, leading: str) -> str:
    sets = dict.fromkeys([leading, *summary.tests])
    scores = {
        f"{i},{j}": [_numbers(summary.difference("top1", arm, other, test)) for test in sets]
        for i, arm in enumerate(summary.arms)
        for j, other in enumerate(summary.arms)
        if i < j
    }
    tests = [f"{name}{' †' if name in summary.left_out else ''}" for name in sets]
    return json.dumps({"arms": summary.arms, "tests": tests, "pairs": scores}, separators=(",", ":"))


def _numbers(score: Score | None) -> list[float] | None:
    return [round(value, 5) for value in (score.value, score.lo, score.hi)] if score and not is_wide(score) else None
