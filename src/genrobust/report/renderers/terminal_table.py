"""The report in a terminal: a table of the leading metrics."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table as RichTable
from rich.text import Text

from genrobust.report.report_section import Entry
from genrobust.report.report_view import ReportView
from genrobust.report.score_tables import difference_entry
from genrobust.report.wording import caveat, compared_with, gain, marks

# A heading with the cells below it.
TextColumn = tuple[Text, list[Text]]


def terminal(view: ReportView) -> RichTable:
    """Return a table with a row for each arm, or for groups instead of their arms.

    It has the accuracy on the leading and on the clean set, then the gain and effective robustness on the leading one.
    """
    summary = view.overview
    caption = f"{caveat(summary)} {marks(summary)}".rstrip()
    if view.summary.groups:
        caption += " A group's metrics are means over its arms."
    table = RichTable(title="Top-1 accuracy, percent", caption=caption, title_justify="left")
    table.add_column("arm", overflow="fold")
    columns = [*_accuracies(view), *_means(view)]
    for heading, cells in columns:
        widest = max(_width(cell) for cell in cells)
        table.add_column(heading, justify="right", overflow="fold", min_width=widest)
    for i, arm in enumerate(summary.arms):
        table.add_row(Text(view.names[arm]), *(cells[i] for _, cells in columns))
    return table


def _width(cell: Text) -> int:
    return max(len(line) for line in cell.plain.split("\n"))


def _accuracies(view: ReportView) -> Iterator[TextColumn]:
    """Yield the accuracies on the leading and on the clean set."""
    summary = view.overview
    table = view.overview_tables["top1"]
    for i, column in enumerate(table.columns):
        if column.name in (summary.leading, summary.clean):
            entries = [entries[i] for _, entries in table.rows]
            yield Text(column.name), [Text(entry.text, style="bold" if entry.best else "") for entry in entries]


def _means(view: ReportView) -> Iterator[TextColumn]:
    """Yield the means over shifts of every arm: the gain in top-1, then the other main metrics."""
    summary = view.overview
    if not summary.shifts:
        return
    top1, *others = (metric for metric in view.metrics if metric.name in view.overview_tables)
    gains = []
    for arm in summary.arms:
        entry = difference_entry(gain(summary, "top1", arm), top1)
        if arm in view.references and not entry.interval:
            entry = Entry(None, "reference")
        gains.append(_signed(entry))
    yield Text(f"{summary.leading} minus {compared_with(summary)}"), gains
    for metric in others:
        scores = [summary.find(metric.name, arm) for arm in summary.arms]
        yield Text(metric.title), [_signed(difference_entry(score, metric)) for score in scores]


def _signed(entry: Entry) -> Text:
    """Return a difference above its interval, dim if the interval includes zero."""
    return Text(f"{entry.text}\n{entry.interval}".rstrip(), style="" if entry.sure else "dim")
