"""The study's result as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table as RichTable
from rich.text import Text

from genrobust.core import MEAN_OF_SHIFTS, Score, Summary
from genrobust.report.groups import averaged
from genrobust.report.tables import main_tables
from genrobust.report.wording import (
    EN_DASH,
    EXTRAPOLATED,
    caveat,
    compared_with,
    gain,
    is_sure,
    marks,
    number,
    references,
    row_name,
    span,
)
from genrobust.robustness import list_figures

COLUMNS = 6  # arms that stand beside each other within some 100 columns


def final_table(summary: Summary) -> RichTable:
    """Return top-1 by test set (rows) and arm (columns), then the means of the other figures and the mean's gain.

    Test sets are rows because there are usually more of them than arms: so it fits 80 columns. Of more arms than
    `COLUMNS`, each is a row with its means. Groups stand in the place of their arms, with their effective robustness on
    each shift.
    """
    groups = summary.groups
    summary = averaged(summary, others=True) if groups else summary
    said = f" {marks(summary)}".rstrip()
    said += " A group's figures are means over its arms." if groups else ""
    if len(summary.arms) > COLUMNS:
        return _by_arm(summary, caveat(summary) + said)
    said = (" † left out of the mean." if summary.left_out else "") + said
    said += " The lower part shows means of shifts." if summary.shifts else ""
    table = RichTable(title="Top-1 accuracy, percent", caption=caveat(summary) + said, title_justify="left")
    table.add_column("test set")
    for arm in summary.arms:
        table.add_column(Text(row_name(summary, arm)), justify="right")
    accuracy = main_tables(summary)["top1"]
    for i, column in enumerate(accuracy.columns):
        entries = [row[i] for _, row in accuracy.rows]
        cells = [Text(entry.text, style="bold" if entry.best else "") for entry in entries]
        name = Text(f"{column.name} †" if column.kind == "out" else column.name)
        table.add_row(name, *cells, style="dim" if column.kind == "out" else "", end_section=column.kind == "mean")
    table.add_section()
    for title, figures in _mean_columns(summary):
        table.add_row(Text(title), *figures)
    for shift in summary.lines if groups else ():
        of_shift = [summary.score("er", arm, shift) for arm in summary.arms]
        marked = (Text(number(s.value, True) + (EXTRAPOLATED if s.extrapolated else "")) for s in of_shift)
        table.add_row(Text(f"  effective robustness on {shift}"), *marked)
    return table


def _mean_columns(summary: Summary) -> Iterator[tuple[str, list[Text]]]:
    """The means over shifts of every arm, by their title: the gain in top-1, then all other figures."""
    if summary.shifts:
        title = f"mean minus {compared_with(summary)}"
        compared = references(summary)
        missing = {arm: "reference" if arm in compared else EN_DASH for arm in summary.arms}
        yield title, [_gain(gain(summary, "top1", arm), missing[arm]) for arm in summary.arms]
    for figure in list_figures():
        found = [summary.find(figure.name, arm) for arm in summary.arms]
        if figure.name == "top1" or not figure.informs(summary):
            continue
        if figure.signed and any(found):
            yield figure.heading(summary), [_gain(score, EN_DASH) for score in found]
        elif any(found):
            values = [Text(number(score.value, digits=figure.digits) if score else EN_DASH) for score in found]
            yield f"{figure.heading(summary)}, {figure.unit}", values


def _by_arm(summary: Summary, caption: str) -> RichTable:
    means = dict(_mean_columns(summary))
    table = RichTable(title="Top-1 accuracy, percent", caption=caption, title_justify="left")
    table.add_column("arm")
    tests = [summary.clean, *([MEAN_OF_SHIFTS] if summary.shifts else [])]
    for name in (*tests, *means):
        table.add_column(Text(name if name in tests else name.removeprefix("mean ")), justify="right")
    for i, arm in enumerate(summary.arms):
        top1 = [Text(number(summary.score("top1", arm, test).value)) for test in tests]
        table.add_row(Text(row_name(summary, arm)), *top1, *(_on_one_line(of_arms[i]) for of_arms in means.values()))
    return table


def _on_one_line(figure: Text) -> Text:
    value, _, interval = figure.plain.partition("\n")
    return Text(f"{value} ({interval})" if interval else value, style=figure.style)


def _gain(score: Score | None, missing: str) -> Text:
    if score is None:
        return Text(missing, style="dim")
    return Text(f"{number(score.value, True)}\n{span(score, True)}", style="bold" if is_sure(score) else "dim")
