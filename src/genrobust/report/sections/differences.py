"""The section on differences: each arm minus its reference."""

from __future__ import annotations

from genrobust.report.nouns import ReportSection
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import compared_with


@SECTIONS.register("differences")
def differences(view: ReportView) -> ReportSection | None:
    """Return the differences in the main metrics; None where nothing is compared."""
    if not view.differences:
        return None
    return ReportSection(
        title=f"Differences from {compared_with(view.summary)}",
        order=50,
        label="Differences",
        lead="Paired by image and seed, in points. Gray, in all tables, where the interval includes zero: it may be "
        "chance.",
        tables=list(view.differences.values()),
    )
