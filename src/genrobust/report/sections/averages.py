"""The section on groups of arms: their tables."""

from __future__ import annotations

from dataclasses import replace

from genrobust.report.groups import averaged_over
from genrobust.report.nouns import ReportSection
from genrobust.report.tables import main_differences
from genrobust.report.view import SECTIONS, ReportView


@SECTIONS.register("averages")
def averages(view: ReportView) -> ReportSection | None:
    """Return the section of a study that has groups; effective robustness comes first."""
    groups = view.summary.groups
    if not groups:
        return None
    tables, gains = view.overview_tables, main_differences(view.overview, view.metrics)
    what = averaged_over(view.record)
    lines = f" One baseline line serves all {what}." if view.summary.lines else ""
    note = " ".join(f"{group}: {'; '.join(arms)}." for group, arms in groups.items())
    return ReportSection(
        title=f"Averaged over {what}",
        order=10,
        label="Averages",
        lead=f"The mean over the arms of each group.{lines}",
        tables=[replace(table, head="trained on") for of in (tables, gains) for table in reversed(of.values())],
        note=note + (" ° some of its arms extrapolate beyond the baselines." if lines else "") + view.dagger,
    )
