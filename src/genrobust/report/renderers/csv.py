"""The scores of a study as CSV, one row each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from genrobust.core import Summary, csv_line
from genrobust.robustness import Figure

CSV_COLUMNS = (
    "arm", "group", "seed", "test_set", "figure", "minus", "value", "lo", "hi", "p", "unit", "n", "groups", "classes",
    "extrapolated", "method",
)  # fmt: skip


def summary_to_csv(summary: Summary, figures: Iterable[Figure]) -> str:
    """Return one row a score, as CSV.

    `seed` is empty for a mean over seeds; `minus` names what a difference subtracts; `group`, in the place of `arm`, is
    named where a score is a mean over arms.
    """
    rows = csv_rows(summary, figures)
    return "".join([csv_line(CSV_COLUMNS), *(csv_line(row.values()) for row in rows)])


def csv_rows(summary: Summary, figures: Iterable[Figure]) -> Iterator[dict[str, Any]]:
    """Yield one row of `CSV_COLUMNS` a score; None is an empty cell."""
    by_name = {figure.name: figure for figure in figures}
    for row in summary.rows():
        figure = by_name[row["figure"]]
        if row["arm"] in summary.groups:
            row |= {"arm": None, "group": row["arm"]}
        if not figure.needs:
            del row["extrapolated"]
        row["unit"] = figure.difference_unit if row["minus"] else figure.unit
        yield {column: row.get(column) for column in CSV_COLUMNS}
