"""The section on effective robustness: shifted against clean accuracy, with the baselines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from genrobust.report.report_section import ReportSection, Table, plain_table
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.scatter_plots import ScatterStyle, scatter
from genrobust.report.wording import EN_DASH, EXTRAPOLATED, number

LINE_HEADS = (
    "test set", "scale", "slope", "intercept", "R²", "baselines", "residual SD", "clean accuracy fitted, %"
)  # fmt: skip


@SECTIONS.register("robustness")
def robustness(view: ReportView) -> ReportSection | None:
    """Return the main metrics except accuracy, plots of every shift, and the baseline lines. None without shifts."""
    has_lines = bool(view.summary.lines)
    plots = scatter(view.record, view.pictured, ScatterStyle("panel_of_arms", view.looks, view.legend))
    if not plots:
        return None
    tables = [table for name, table in view.tables.items() if name != "top1"]
    label, note = "Shifted against clean", ""
    if tables:
        label = "Effective robustness"
        note = f"{EXTRAPOLATED} extrapolates beyond the baselines: such an arm has no mean.{view.dagger}"
    if has_lines:
        tables.append(_lines_table(view))
    _, (shared, *_) = plots[0].parts[0]
    return ReportSection(
        title="Effective robustness" if has_lines else "Shifted against clean accuracy",
        order=30,
        label=label,
        lead=" ".join(_lead(view, shared["scale"])),
        tables=tables,
        plots=plots,
        note=note,
    )


def _lead(view: ReportView, scale: str) -> Iterator[str]:
    if view.summary.lines:
        yield "Points of accuracy above the prediction of the baseline line from clean accuracy."
        yield "Differences between arms are more certain than the value of one."
    yield f"All plots share their axes, on a {scale} scale.{view.pictured_note}"
    if len(view.summary.seeds) > 1:
        yield "Small marks are single seeds, large ones their mean with its 95 % interval."
    if view.summary.by_group:
        yield f"On {', '.join(view.summary.by_group)}, the interval is the range of the groups of images."


def _lines_table(view: ReportView) -> Table:
    rows = []
    for line in view.summary.lines.values():
        fit = [number(value, digits=3) for value in (line.slope, line.intercept, line.r2)]
        fitted_on = [str(line.n), number(line.residual_sd, digits=3), f"{number(line.lo)}{EN_DASH}{number(line.hi)}"]
        rows.append([line.test_set, line.transform, *fit, *fitted_on])
    table = plain_table(LINE_HEADS, rows, "Baseline lines, by ordinary least squares")
    return replace(table, folded=True)
