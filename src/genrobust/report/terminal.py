"""The study's result as a table for the terminal."""

from __future__ import annotations

from rich.table import Table as RichTable
from rich.text import Text

from genrobust.data import MEAN_OF_SHIFTS, Summary
from genrobust.report.tables import accuracy_table
from genrobust.report.wording import caveat, difference, is_sure, number, span


def final_table(summary: Summary) -> RichTable:
    """Top-1 by arm and test set, then the mean's difference to the reference and the mean effective robustness."""
    accuracy = accuracy_table(summary)
    table = RichTable(title="Top-1 accuracy, percent", caption=caveat(summary), title_justify="left", header_style="")
    table.add_column("arm", no_wrap=True)
    for column in accuracy.columns:
        left_out = "†" if column.kind == "out" else ""
        table.add_column(Text(column.name + left_out, style="bold" if column.kind == "mean" else ""), justify="right")
    if summary.mean_top1:
        table.add_column(Text(f"minus {summary.reference}"), justify="right")
    if summary.mean_er:
        table.add_column("effective robustness", justify="right")
    for arm, entries in accuracy.rows:
        cells = [Text(arm)]
        for column, entry in zip(accuracy.columns, entries, strict=True):
            style = "bold" if entry.best else "dim" if column.kind == "out" else ""
            cells.append(Text(entry.text, style=style))
        gained = difference(summary, arm, MEAN_OF_SHIFTS)
        if gained is not None:
            sure = "bold" if is_sure(gained) else "dim"
            cells.append(Text(f"{number(gained.value, True)} ({span(gained, True)})", style=sure))
        elif summary.mean_top1:
            cells.append(Text("reference", style="dim"))
        if summary.mean_er:
            cells.append(Text(number(summary.mean_er[arm].value, True)))
        table.add_row(*cells)
    return table
