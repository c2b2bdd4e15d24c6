"""The section on WiSE-FT curves: accuracies between a pretrained network and a fine-tuned one."""

from __future__ import annotations

from dataclasses import replace

from genrobust.report.report_section import Plot, ReportSection, Table
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.scatter_plots import ScatterStyle, scatter
from genrobust.report.score_tables import main_tables

# The heading of rows: 0 is the pretrained network, 1 the fine-tuned one.
HEAD = "share of fine-tuning"


@SECTIONS.register("curves")
def curves(view: ReportView) -> ReportSection | None:
    """Return the curves of all arms that have one: a plot for each shift, and the main tables."""
    tables: list[Table] = []
    plots: list[Plot] = []
    for curve in view.record.curves:
        measured = replace(view.record, summary=curve.summary)
        plots += scatter(measured, curve.summary.arms, ScatterStyle("panel_of_curve", view.looks, name=curve.arm))
        for table in main_tables(curve.summary, view.metrics).values():
            tables.append(replace(table, head=HEAD, caption=f"{curve.arm}: {table.caption}"))
    if not tables:
        return None
    return ReportSection(
        title="Between pretrained and fine-tuned",
        order=40,
        label="WiSE-FT",
        lead="Weights that are mixed without training (WiSE-FT): 0 is the network before fine-tuning, 1 the one after. "
        "A curve above the baseline line is effective robustness.",
        tables=tables,
        plots=plots,
    )
