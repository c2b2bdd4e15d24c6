"""The section on effective robustness: shifted against clean accuracy, beside the baselines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from genrobust.report.nouns import ReportSection, Table, plain_table
from genrobust.report.plots import scatter
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import EN_DASH, EXTRAPOLATED, number

LINE_HEADS = (
    "test set", "scale", "slope", "intercept", "R²", "baselines", "residual SD", "clean accuracy fitted, %"
)  # fmt: skip


@SECTIONS.register("robustness")
def robustness(view: ReportView) -> ReportSection | None:
    """Return the main metrics but accuracy, the plots of every shift, and the baseline lines; None without a shift."""
    summary = view.summary
    plots = scatter(view.record, view.pictured, "panel_of_arms", view.looks, view.legend)
    if not plots:
        return None
    tables = [table for name, table in view.tables.items() if name != "top1"]
    scale = plots[0].parts[0][1][0]["scale"]
    return ReportSection(
        title="Effective robustness" if summary.lines else "Shifted against clean accuracy",
        order=30,
        label="Effective robustness" if tables else "Shifted against clean",
        lead=" ".join(_lead(view, scale)),
        tables=[*tables, *([_lines_table(view)] if summary.lines else [])],
        plots=plots,
        note=f"{EXTRAPOLATED} extrapolates beyond the baselines: such an arm has no mean.{view.dagger}"
        if tables
        else "",
    )


def _lead(view: ReportView, scale: str) -> Iterator[str]:
    if view.summary.lines:
        yield "Points of accuracy above what the baseline line predicts from clean accuracy."
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
    return replace(plain_table(LINE_HEADS, rows, "Baseline lines, by ordinary least squares"), folded=True)
