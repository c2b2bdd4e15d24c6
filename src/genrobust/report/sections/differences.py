"""The section on differences: each arm minus its reference."""

from __future__ import annotations

from genrobust.report.report_section import ReportSection
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.wording import compared_with


@SECTIONS.register("differences")
def differences(view: ReportView) -> ReportSection | None:
    """Return the differences in the main metrics. None if nothing is compared."""
    if not view.differences:
        return None
    return ReportSection(
        title=f"Differences from {compared_with(view.summary)}",
        order=50,
        label="Differences",
        lead="Paired by image and seed, in points. In all tables, a difference is gray if its interval includes zero: "
        "it may be chance.",
        tables=list(view.differences.values()),
    )
