"""The section on WiSE-FT curves: accuracies between a pretrained network and a fine-tuned one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from genrobust.core import Curve
from genrobust.report.nouns import PAGES, Plot, ReportSection, template_beside
from genrobust.report.plots import PLOT_BOX, scatter
from genrobust.report.tables import main_tables
from genrobust.report.view import SECTIONS, ReportView

HEAD = "share of fine-tuning"  # of a table's rows: 0 is the pretrained network, 1 the fine-tuned one


@SECTIONS.register("curves")
def curves(view: ReportView) -> ReportSection | None:
    """Return the curves of all arms that have one: a plot for each shift, and the main tables."""
    drawn = []
    for curve in view.record.curves:
        tables = main_tables(curve.summary, view.figures).values()
        shown = [replace(table, head=HEAD) for table in tables]
        drawn.append((curve.arm, _plots(curve, scatter(replace(view.record, summary=curve.summary))), shown))
    if not drawn:
        return None
    return ReportSection(
        title="Between pretrained and fine-tuned",
        order=40,
        label="WiSE-FT",
        lead="Weights that are mixed without training (WiSE-FT): 0 is the network before fine-tuning, 1 the one after. "
        "A curve above the baseline line is effective robustness.",
        tables=[replace(table, caption=f"{arm}: {table.caption}") for arm, _, shown in drawn for table in shown],
        plots=[plot for _, plots, _ in drawn for plot in plots],
        template=template_beside(__file__),
        values={"curves": drawn},
        forms=PAGES,
    )


def _plots(curve: Curve, plot: dict[str, Any] | None) -> list[Plot]:
    return [
        Plot(
            title=f"{curve.arm}, {panel['name']}",
            macro="panel_of_curve",
            arguments=(plot, panel | {"path": _path(panel)}, PLOT_BOX),
            box=PLOT_BOX,
            note=panel["note"],
            description=panel["description"],
            heading=f"{panel['name']}{'†' if panel['name'] in curve.summary.left_out else ''}",
            has_line=bool(panel["band"]),
        )
        for panel in (plot or {"panels": ()})["panels"]
    ]


def _path(panel: dict[str, Any]) -> str:
    """Return the SVG path through the means."""
    return "M" + "L".join(f"{mark.x} {mark.y}" for mark in panel["marks"] if mark.mean)
