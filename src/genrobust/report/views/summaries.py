"""The views of results: their main tables in a notebook, and all scores as a pandas table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genrobust.core import VIEWS, MissingPackage, Summary
from genrobust.report.groups import with_group_means
from genrobust.report.page import render
from genrobust.report.renderers.csv import csv_rows
from genrobust.report.tables import main_differences, main_tables
from genrobust.report.wording import caveat, marks, row_name
from genrobust.robustness import list_metrics

if TYPE_CHECKING:
    import pandas


@VIEWS.register("summary")
def show_summary(summary: Summary) -> str:
    """Return the main tables of a report, about groups where there are any."""
    summary = with_group_means(summary)
    metrics = list_metrics()
    tables = [*main_tables(summary, metrics).values(), *main_differences(summary, metrics).values()]
    names = {arm: row_name(summary, arm) for arm in summary.arms}
    return render("notebook.html.j2", tables=tables, names=names, notes=[caveat(summary), marks(summary)])


@VIEWS.register("to_pandas")
def scores_frame(summary: Summary) -> pandas.DataFrame:
    """Return one row a score, with the columns of results.csv.

    Raises:
        MissingPackage: pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError:
        raise MissingPackage("pandas", "pandas", "Summary.to_pandas") from None
    frame = pandas.DataFrame(csv_rows(summary, list_metrics()))
    return frame.astype({"seed": "Int64", "extrapolated": "boolean"})  # which may be missing
