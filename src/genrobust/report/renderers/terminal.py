"""The report in a terminal: a table of the leading metrics."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table as RichTable
from rich.text import Text

from genrobust.core import MEAN_OF_SHIFTS
from genrobust.report.nouns import Entry
from genrobust.report.tables import difference_entry
from genrobust.report.view import ReportView
from genrobust.report.wording import caveat, compared_with, gain, marks


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
    top1, *others = (metric for metric in view.metrics if metric.name in view.overview_tables)
    gains = {arm: difference_entry(gain(summary, "top1", arm), top1) for arm in summary.arms}
    gains |= {arm: Entry(None, "reference") for arm, of in gains.items() if arm in view.references and not of.interval}
    yield Text(f"{MEAN_OF_SHIFTS} minus {compared_with(summary)}"), [_signed(entry) for entry in gains.values()]
    for metric in others:
        scores = (summary.find(metric.name, arm) for arm in summary.arms)
        yield Text(metric.title), [_signed(difference_entry(score, metric)) for score in scores]


def _signed(entry: Entry) -> Text:
    """Return a difference above its interval; dim where the interval includes zero."""
    return Text(f"{entry.text}\n{entry.interval}".rstrip(), style="" if entry.sure else "dim")
