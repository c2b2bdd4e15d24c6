"""The section on effective robustness: shifted against clean accuracy, beside the baselines."""

from __future__ import annotations

from genrobust.report.nouns import PAGES, ReportSection, Table, plain_table, template_beside
from genrobust.report.plots import scatter
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import EN_DASH, number

LINE_HEADS = (
    "test set", "scale", "slope", "intercept", "R²", "baselines", "residual SD", "clean accuracy fitted, %"
)  # fmt: skip


@SECTIONS.register("robustness")
def robustness(view: ReportView) -> ReportSection | None:
    """Return the main metrics but accuracy, the plots of every shift, and the baseline lines; None without a shift."""
    summary, plots = view.summary, scatter(view.record, "panel_of_arms", view.looks, view.legend)
    if not plots:
        return None
    tables = [table for name, table in view.tables.items() if name != "top1"]
    lines = [_lines_table(view)] if summary.lines else []
    return ReportSection(
        title="Effective robustness" if summary.lines else "Shifted against clean accuracy",
        order=30,
        label="Effective robustness" if tables else "Shifted against clean",
        tables=[*tables, *lines],
        plots=plots,
        template=template_beside(__file__),
        values={"scale": plots[0].parts[0][1][0]["scale"], "tables": tables, "lines": lines},
        forms=PAGES,
    )


def _lines_table(view: ReportView) -> Table:
    rows = []
    for line in view.summary.lines.values():
        fit = [number(value, digits=3) for value in (line.slope, line.intercept, line.r2)]
        fitted_on = [str(line.n), number(line.residual_sd, digits=3), f"{number(line.lo)}{EN_DASH}{number(line.hi)}"]
        rows.append([line.test_set, line.transform, *fit, *fitted_on])
    return plain_table(LINE_HEADS, rows, "Baseline lines")
