"""The section on all metrics but the main ones."""

from __future__ import annotations

from dataclasses import replace

from genrobust.report.nouns import ReportSection
from genrobust.report.tables import further_tables
from genrobust.report.view import SECTIONS, ReportView


@SECTIONS.register("further")
def further(view: ReportView) -> ReportSection | None:
    """Return their tables; None where none was measured."""
    tables = [replace(table, folded=True) for table in further_tables(view.summary, view.metrics).values()]
    if not tables:
        return None
    return ReportSection(
        title="Further metrics",
        order=100,
        tables=tables,
        note="“How to read it” says what each is.",
    )
