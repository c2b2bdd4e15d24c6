"""The section on all metrics except the main ones."""

from __future__ import annotations

from dataclasses import replace

from genrobust.report.report_section import ReportSection
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.score_tables import further_tables


@SECTIONS.register("further")
def further(view: ReportView) -> ReportSection | None:
    """Return their tables. None if no such metric was measured."""
    tables = [replace(table, folded=True) for table in further_tables(view.summary, view.metrics).values()]
    if not tables:
        return None
    return ReportSection(
        title="Further metrics",
        order=100,
        tables=tables,
        note="“How to read it” defines each metric.",
    )
