"""The section on groups of arms: their tables."""

from __future__ import annotations

from dataclasses import replace

from genrobust.report.arm_groups import averaged_over
from genrobust.report.report_section import ReportSection
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.score_tables import main_differences


@SECTIONS.register("averages")
def averages(view: ReportView) -> ReportSection | None:
    """Return the tables of a study with groups; effective robustness comes first."""
    groups = view.summary.groups
    if not groups:
        return None
    differences = main_differences(view.overview, view.metrics)
    tables = [*reversed(view.overview_tables.values()), *reversed(differences.values())]
    unit = averaged_over(view.record)
    lead = "The mean over the arms of each group."
    note = " ".join(f"{group}: {'; '.join(arms)}." for group, arms in groups.items())
    if view.summary.lines:
        lead += f" One baseline line serves all {unit}."
        note += " ° some of its arms extrapolate beyond the baselines."
    return ReportSection(
        title=f"Averaged over {unit}",
        order=10,
        label="Averages",
        lead=lead,
        tables=[replace(table, head="trained on") for table in tables],
        note=note + view.dagger,
    )
