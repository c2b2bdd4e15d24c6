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

COLUMNS = 6  # arms that stand beside each other at the most
NAME_WIDTH = 24  # columns that the names of test sets and metrics have, so that they take three lines at the most
Rows = list[tuple[Text, list[Text]]]


def terminal(view: ReportView, width: int) -> Group:
    """Return the leading metrics of all arms, and the sections that the terminal shows."""
    sections = view.sections_in("terminal").values()
    return Group(final_table(view, width), *(part for section in sections for part in _section(section, view.names)))


def final_table(view: ReportView, width: int) -> RichTable:
    """Return top-1 by test set (rows) and arm (columns), then the mean's gain and effective robustness.

    Of more arms than `COLUMNS`, or where their names and intervals do not fit `width`, each arm is a row, with as many
    of its means as fit. On a terminal narrower than the narrowest layout, cells are cut. Groups stand in the place of
    their arms.
    """
    groups, summary = bool(view.summary.groups), view.overview
    caption = caveat(summary) + f" {marks(summary)}".rstrip()
    caption += " A group's metrics are means over its arms." if groups else ""
    arms = [Text(view.names[arm]) for arm in summary.arms]
    means, tests = list(_mean_rows(view)), list(_test_rows(view.overview_tables["top1"]))
    if len(arms) <= COLUMNS:
        dagger = " † left out of the mean." if summary.left_out else ""
        lower = " The lower part shows means of shifts." if means else ""
        parts = [[row for row, kind in tests if kind != "out"], [row for row, kind in tests if kind == "out"]]
        parts.append(means)
        table, fits = _table(Text("test set"), arms, parts, NAME_WIDTH, caption + dagger + lower, width)
        if fits:
            return table
    leading = [row for row, kind in tests if kind in ("clean", "mean")]
    for most in range(len(means), -1, -1):
        columns = [*leading, *means[:most]]
        rows = [(arm, [cells[i] for _, cells in columns]) for i, arm in enumerate(arms)]
        table, fits = _table(Text("arm"), [title for title, _ in columns], [rows], 0, caption, width)
        if fits:
            break
    return table


def _table(
    corner: Text, headings: list[Text], parts: list[Rows], min_name_width: int, caption: str, width: int
) -> tuple[RichTable, bool]:
    """Return a table, each of `parts` in a section of its own, and whether it fits `width` with nothing in it cut."""
    table = RichTable(title="Top-1 accuracy, percent", caption=caption, title_justify="left")
    rows = [row for part in parts for row in part]
    names = [corner, *(name for name, _ in rows)]
    min_width = max(min_name_width, *map(_longest_word, names))
    widths = [
        max(_longest_word(head), *(cell_len(line) for _, cells in rows for line in cells[i].plain.split("\n")))
        for i, head in enumerate(headings)
    ]
    available = width - sum(widths) - 3 * len(widths) - 4  # for the names, beside what lies between the columns
    table.add_column(corner, width=max(min_width, min(available, max(name.cell_len for name in names))))
    for head, of_column in zip(headings, widths, strict=True):
        table.add_column(head, justify="right", width=of_column)
    for part in filter(None, parts):
        for name, cells in part:
            table.add_row(name, *cells)
        table.add_section()
    return table, min_width <= available


def _longest_word(text: Text) -> int:
    return max((cell_len(word) for word in text.plain.split()), default=0)


def _test_rows(accuracy: Table) -> Iterator[tuple[tuple[Text, list[Text]], str]]:
    """Yield the accuracies on each test set, with its kind."""
    for i, column in enumerate(accuracy.columns):
        out = column.kind == "out"
        name = Text(f"{column.name} †" if out else column.name, style="dim" if out else "")
        yield (name, _cells(accuracy, i, "dim" if out else "")), column.kind


def _cells(table: Table, column: int, style: str) -> list[Text]:
    entries = [row[column] for _, row in table.rows]
    return [Text(entry.text, style="bold" if entry.best else style) for entry in entries]


def _mean_rows(view: ReportView) -> Iterator[tuple[Text, list[Text]]]:
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
