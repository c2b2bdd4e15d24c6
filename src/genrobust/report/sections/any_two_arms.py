"""The section on any two arms: a matrix of top-1 accuracy."""

from __future__ import annotations

from genrobust.report.report_section import Column, Entry, ReportSection, Table
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.score_tables import difference_entry
from genrobust.robustness import find_metric

# A matrix with more rows is shown after a click.
OPEN_ARMS = 12


@SECTIONS.register("pairs")
def pairs(view: ReportView) -> ReportSection | None:
    """Return the differences between any two arms, or groups, in top-1 accuracy: row minus column.

    None for fewer than three, or if they were not measured.
    """
    summary = view.overview
    metric = find_metric("top1")
    arms = summary.arms
    rows = []
    is_measured = False
    for arm in arms:
        entries = []
        for other in arms:
            score = summary.difference("top1", arm, other, summary.leading)
            is_measured = is_measured or score is not None
            entries.append(Entry(None, "") if arm == other else difference_entry(score, metric))
        rows.append((arm, tuple(entries)))
    if len(arms) < 3 or not is_measured:
        return None
    matrix = Table(
        columns=tuple(Column(arm, kind="pair") for arm in arms),
        rows=tuple(rows),
        caption=f"Top-1 accuracy, {summary.leading}: row minus column, points",
        folded=len(arms) > OPEN_ARMS,
    )
    return ReportSection(
        title="Any two arms",
        order=60,
        lead="Paired by image and seed.",
        tables=[matrix],
    )
