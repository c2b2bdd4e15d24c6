"""The view of results in a notebook: their main tables."""

from __future__ import annotations

from genrobust.core import VIEWS, Summary
from genrobust.report.arm_groups import with_group_means
from genrobust.report.page_templates import render
from genrobust.report.score_tables import dagger, main_differences, main_tables
from genrobust.report.wording import caveat, marks, row_name
from genrobust.robustness import list_metrics


@VIEWS.register("summary")
def show_summary(summary: Summary) -> str:
    """Return the main tables of a report, about groups if there are any."""
    summary = with_group_means(summary)
    metrics = list_metrics()
    tables = [*main_tables(summary, metrics).values(), *main_differences(summary, metrics).values()]
    names = {arm: row_name(summary, arm) for arm in summary.arms}
    notes = [caveat(summary), marks(summary), dagger(tables)]
    return render("notebook.html.j2", tables=tables, names=names, notes=notes)
