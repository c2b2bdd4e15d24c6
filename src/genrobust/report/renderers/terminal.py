"""The report in a terminal: a table of the leading metrics."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table as RichTable
from rich.text import Text

from genrobust.core import MEAN_OF_SHIFTS, Score
from genrobust.report.view import ReportView
from genrobust.report.wording import EN_DASH, caveat, compared_with, gain, is_sure, is_wide, marks, number, span


def terminal(view: ReportView) -> RichTable:
    """Return a row for each arm, or for groups in place of their arms.

    It has the accuracy on the mean of the shifts and on the clean set, then the mean's gain and effective robustness.
    """
    summary = view.overview
    caption = f"{caveat(summary)} {marks(summary)}".rstrip()
    caption += " A group's metrics are means over its arms." if view.summary.groups else ""
    columns = [*_accuracies(view), *_means(view)]
    table = RichTable(title="Top-1 accuracy, percent", caption=caption, title_justify="left")
    table.add_column("arm", overflow="fold")
    for heading, cells in columns:
        widest = max(len(line) for cell in cells for line in cell.plain.split("\n"))
        table.add_column(heading, justify="right", overflow="fold", min_width=widest)
    for arm, *row in zip(summary.arms, *(cells for _, cells in columns), strict=True):
        table.add_row(Text(view.names[arm]), *row)
    return table


def _accuracies(view: ReportView) -> Iterator[tuple[Text, list[Text]]]:
    table = view.overview_tables["top1"]
    for i, column in enumerate(table.columns):
        if column.kind in ("mean", "clean"):
            entries = [entries[i] for _, entries in table.rows]
            yield Text(column.name), [Text(entry.text, style="bold" if entry.best else "") for entry in entries]


def _means(view: ReportView) -> Iterator[tuple[Text, list[Text]]]:
    """Yield the means over shifts of every arm, by their title: the gain in top-1, then the other main metrics."""
    summary = view.overview
    if not summary.shifts:
        return
    missing = {arm: "reference" if arm in view.references else EN_DASH for arm in summary.arms}
    gains = [_signed(gain(summary, "top1", arm), missing[arm]) for arm in summary.arms]
    yield Text(f"{MEAN_OF_SHIFTS} minus {compared_with(summary)}"), gains
    for metric in view.metrics:
        if metric.signed and metric.name in view.overview_tables:
            scores = (summary.find(metric.name, arm) for arm in summary.arms)
            yield Text(metric.title), [_signed(None if s and is_wide(s) else s, EN_DASH) for s in scores]


def _signed(score: Score | None, missing: str) -> Text:
    """Return a metric with a sign above its interval; dim where the interval includes zero."""
    if score is None:
        return Text(missing, style="dim")
    return Text(f"{number(score.value, True)}\n{span(score, True)}", style="" if is_sure(score) else "dim")
