"""The scores of a study as CSV, one row each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from genrobust.core import Summary, csv_line
from genrobust.robustness import Metric

CSV_COLUMNS = (
    "arm", "group", "seed", "test_set", "metric", "minus", "value", "lo", "hi", "p", "unit", "n", "groups", "classes",
    "extrapolated", "method",
)  # fmt: skip


def summary_to_csv(summary: Summary, metrics: Iterable[Metric]) -> str:
    """Return one row a score, as CSV.

    `seed` is empty for a mean over seeds; `minus` names what a difference subtracts; `group`, in the place of `arm`, is
    named where a score is a mean over arms.
    """
    rows = csv_rows(summary, metrics)
    return "".join([csv_line(CSV_COLUMNS), *(csv_line(row.values()) for row in rows)])


def csv_rows(summary: Summary, metrics: Iterable[Metric]) -> Iterator[dict[str, Any]]:
    """Yield one row of `CSV_COLUMNS` a score; None is an empty cell."""
    by_name = {metric.name: metric for metric in metrics}
    for row in summary.rows():
        metric = by_name[row["metric"]]
        if row["arm"] in summary.groups:
            row |= {"arm": None, "group": row["arm"]}
        if not metric.needs_lines:
            del row["extrapolated"]
        row["unit"] = metric.difference_unit if row["minus"] else metric.unit
        yield {column: row.get(column) for column in CSV_COLUMNS}
