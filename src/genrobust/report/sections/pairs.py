"""The section on any two arms: a matrix of top-1 accuracy."""

from __future__ import annotations

from genrobust.report.nouns import Column, Entry, ReportSection, Table
from genrobust.report.tables import difference_entry
from genrobust.report.view import SECTIONS, ReportView
from genrobust.robustness import find_metric

OPEN_ARMS = 12  # rows of a matrix that is shown before one asks for it


@SECTIONS.register("pairs")
def pairs(view: ReportView) -> ReportSection | None:
    """Return the differences between any two arms, or groups, in top-1 accuracy: row minus column.

    None for fewer than three, or where they were not measured.
    """
    summary, metric = view.overview, find_metric("top1")
    arms, leading = summary.arms, summary.leading
    scores = {(arm, other): summary.difference("top1", arm, other, leading) for arm in arms for other in arms}
    if len(arms) < 3 or not any(scores.values()):
        return None
    entries = {pair: difference_entry(score, metric) for pair, score in scores.items()}
    entries |= {(arm, arm): Entry(None, "") for arm in arms}
    rows = tuple((arm, tuple(entries[arm, other] for other in arms)) for arm in arms)
    matrix = Table(
        columns=tuple(Column(arm, kind="pair") for arm in arms),
        rows=rows,
        caption=f"Top-1 accuracy, {leading}: row minus column, points",
        folded=len(arms) > OPEN_ARMS,
    )
    return ReportSection(
        title="Any two arms",
        order=60,
        lead="Paired by image and seed.",
        tables=[matrix],
    )
