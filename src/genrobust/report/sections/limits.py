"""The section on how to read the report."""

from __future__ import annotations

from genrobust.report.nouns import PAGES, ReportSection, template_beside
from genrobust.report.view import SECTIONS, ReportView


@SECTIONS.register("limits")
def how_to_read(view: ReportView) -> ReportSection:
    """Return what a reader must know; a page says the first of it below the answer."""
    return ReportSection("How to read it", 150, items=view.limits, template=template_beside(__file__), forms=PAGES)
