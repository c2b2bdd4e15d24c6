"""The section on how to read the report."""

from __future__ import annotations

from genrobust.report.nouns import ReportSection
from genrobust.report.view import SECTIONS, ReportView


@SECTIONS.register("limits")
def how_to_read(view: ReportView) -> ReportSection:
    """Return what a reader must know."""
    return ReportSection("How to read it", 150, items=view.limits)
