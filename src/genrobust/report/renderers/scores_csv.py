"""The scores of a study as CSV, one row each."""

from __future__ import annotations

from collections.abc import Iterable

from genrobust.core import Summary, csv_line
from genrobust.robustness import Metric

CSV_COLUMNS = (
    "arm", "group", "seed", "test_set", "metric", "minus", "value", "lo", "hi", "p", "unit", "n", "groups", "classes",
    "extrapolated", "method",
)  # fmt: skip


def summary_to_csv(summary: Summary, metrics: Iterable[Metric]) -> str:
    """Return one row per score, as CSV.

    `seed` is empty for a mean over seeds, and `minus` is the arm or group that a difference subtracts. A mean over arms
    has its `group` and no `arm`.
    """
    by_name = {metric.name: metric for metric in metrics}
    lines = [csv_line(CSV_COLUMNS)]
    for row in summary.rows():
        metric = by_name[row["metric"]]
        if row["arm"] in summary.groups:
            row |= {"arm": None, "group": row["arm"]}
        if not metric.needs_lines:
            del row["extrapolated"]
        row["unit"] = metric.difference_unit if row["minus"] else metric.unit
        lines.append(csv_line(row.get(column) for column in CSV_COLUMNS))
    return "".join(lines)
