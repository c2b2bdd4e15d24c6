"""The section on all metrics but the main ones."""

from __future__ import annotations

from dataclasses import replace

from genrobust.report.nouns import PAGES, ReportSection, template_beside
from genrobust.report.tables import further_tables
from genrobust.report.view import SECTIONS, ReportView


@SECTIONS.register("further")
def further(view: ReportView) -> ReportSection | None:
    """Return their tables, each headed by what it shows; None where none was measured."""
    tables = further_tables(view.summary, view.metrics).values()
    if not tables:
        return None
    return ReportSection(
        title="Further metrics",
        order=100,
        tables=[replace(table, head=table.caption, caption="") for table in tables],
        template=template_beside(__file__),
        forms=PAGES,
    )
