"""The report in a terminal: a table of the leading metrics, and the sections that ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from genrobust.core import MEAN_OF_SHIFTS, Score
from genrobust.report.nouns import ReportSection, Table
from genrobust.report.view import ReportView
from genrobust.report.wording import (
    EN_DASH,
    caveat,
    compared_with,
    gain,
    is_sure,
    is_wide,
    marks,
    number,
    references,
    span,
)

Columns = list[tuple[Text, list[Text]]]


def terminal(view: ReportView, width: int) -> Group:
    """Return the leading metrics of all arms, and the sections that the terminal shows."""
    sections = view.sections_in("terminal").values()
    return Group(final_table(view, width), *(part for section in sections for part in _section(section, view.names)))


def final_table(view: ReportView, width: int) -> RichTable:
    """Return a row for each arm, or for groups in place of their arms, with as many columns as fit `width`.

    These are the accuracies on all test sets, or on the clean one and the mean of shifts, then the mean's gain and
    effective robustness. On a terminal narrower than the narrowest layout, cells are cut.
    """
    summary, accuracy = view.overview, view.overview_tables["top1"]
    caption = f"{caveat(summary)} {marks(summary)}".rstrip()
    caption += " A group's metrics are means over its arms." if view.summary.groups else ""
    tests, means = _accuracy_columns(accuracy), list(_mean_columns(view))
    leading = [tests[i] for i, column in enumerate(accuracy.columns) if column.kind in ("clean", "mean")]
    arms = [Text(view.names[arm]) for arm in summary.arms]
    for columns in ([*tests, *means], *([*leading, *means[:most]] for most in range(len(means), -1, -1))):
        dagger = view.dagger if len(columns) >= len(tests) + len(means) else ""
        table, fits = _table(arms, columns, caption + dagger, width)
        if fits:
            break
    return table


def _table(arms: list[Text], columns: Columns, caption: str, width: int) -> tuple[RichTable, bool]:
    """Return a table, and whether it fits `width` with nothing in it cut."""
    table = RichTable(title="Top-1 accuracy, percent", caption=caption, title_justify="left")
    least = max(map(_longest_word, [Text("arm"), *arms]))
    widths = [
        max(_longest_word(head), *(cell_len(line) for cell in cells for line in cell.plain.split("\n")))
        for head, cells in columns
    ]
    available = width - sum(widths) - 3 * len(widths) - 4  # for the names, beside what lies between the columns
    table.add_column("arm", width=max(least, min(available, max(arm.cell_len for arm in arms))))
    for (head, _), of_column in zip(columns, widths, strict=True):
        table.add_column(head, justify="right", width=of_column)
    for arm, *cells in zip(arms, *(cells for _, cells in columns), strict=True):
        table.add_row(arm, *cells)
    return table, least <= available


def _longest_word(text: Text) -> int:
    return max((cell_len(word) for word in text.plain.split()), default=0)


def _accuracy_columns(accuracy: Table) -> Columns:
    return [
        (
            Text(f"{column.name} †" if column.kind == "out" else column.name),
            [Text(entries[i].text, style="bold" if entries[i].best else "") for _, entries in accuracy.rows],
        )
        for i, column in enumerate(accuracy.columns)
    ]


def _mean_columns(view: ReportView) -> Iterator[tuple[Text, list[Text]]]:
    """Yield the means over shifts of every arm, by their title: the gain in top-1, then the other main metrics."""
    summary = view.overview
    if not summary.shifts:
        return
    compared = references(summary)
    missing = {arm: "reference" if arm in compared else EN_DASH for arm in summary.arms}
    gains = [_signed(gain(summary, "top1", arm), missing[arm]) for arm in summary.arms]
    yield Text(f"{MEAN_OF_SHIFTS} minus {compared_with(summary)}"), gains
    for metric in view.metrics:
        if metric.signed and metric.name in view.overview_tables:
            scores = (summary.find(metric.name, arm) for arm in summary.arms)
            yield Text(metric.heading(summary)), [_signed(None if s and is_wide(s) else s, EN_DASH) for s in scores]


def _signed(score: Score | None, missing: str) -> Text:
    """Return a metric with a sign above its interval; dim where the interval includes zero."""
    if score is None:
        return Text(missing, style="dim")
    return Text(f"{number(score.value, True)}\n{span(score, True)}", style="" if is_sure(score) else "dim")


def _section(section: ReportSection, names: Mapping[str, str]) -> Iterator[RichTable | Text]:
    """Yield the tables of a section, then its words."""
    yield Text(f"\n{section.title}", style="bold")
    for table in section.tables:
        shown = RichTable(title=Text(table.caption) if table.caption else None, title_justify="left")
        shown.add_column(Text(table.head), overflow="fold")
        for column in table.columns:
            shown.add_column(Text(column.name), justify="left" if column.kind == "words" else "right")
        for name, entries in table.rows:
            cells = [Text(entry.text, style="bold" if entry.best else "") for entry in entries]
            shown.add_row(Text(name if table.plain else names.get(name, name)), *cells)
        yield shown
    for words in (*section.items, section.note, *(code for _, code in section.code)):
        if words:
            yield Text(words)
