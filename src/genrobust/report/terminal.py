"""The study's result as a table for the terminal."""

from __future__ import annotations

from rich.table import Table as RichTable
from rich.text import Text

from genrobust.core import MEAN_OF_SHIFTS, Score, Summary
from genrobust.report.groups import averaged
from genrobust.report.tables import accuracy_table
from genrobust.report.wording import ELSEWHERE, caveat, compared_with, difference, is_sure, number, row_name, span

COLUMNS = 6  # arms that stand beside each other within some 100 columns


def final_table(summary: Summary) -> RichTable:
    """Top-1 by test set (rows) and arm (columns), then the mean's difference and effective robustness.

    Test sets are rows because there are usually more of them than arms: so it fits 80 columns. Of more arms than
    `COLUMNS`, each is a row with its means. Groups stand in the place of their arms, with their effective robustness on
    each shift.
    """
    groups = summary.groups
    summary = averaged(summary, others=True) if groups else summary
    accuracy = accuracy_table(summary)
    marks = f" {ELSEWHERE} trained on other data." if summary.trained_elsewhere else ""
    marks += " A group's figures are means over its arms." if groups else ""
    if len(summary.arms) > COLUMNS:
        return _by_arm(summary, caveat(summary) + marks)
    marks = (" † left out of the mean." if summary.left_out else "") + marks
    table = RichTable(title="Top-1 accuracy, percent", caption=caveat(summary) + marks, title_justify="left")
    table.add_column("test set")
    for arm in summary.arms:
        table.add_column(Text(row_name(summary, arm)), justify="right")
    for i, column in enumerate(accuracy.columns):
        entries = [row[i] for _, row in accuracy.rows]
        cells = [Text(entry.text, style="bold" if entry.best else "") for entry in entries]
        name = Text(f"{column.name} †" if column.kind == "out" else column.name)
        table.add_row(name, *cells, style="dim" if column.kind == "out" else "", end_section=column.kind == "mean")
    if summary.mean_top1:
        gains = [difference(summary, arm, MEAN_OF_SHIFTS) for arm in summary.arms]
        table.add_section()
        table.add_row(Text(f"mean minus {compared_with(summary)}"), *(_gain(score) for score in gains))
    if summary.mean_er:
        ers = [summary.mean_er[arm] for arm in summary.arms]
        table.add_row("effective robustness", *(Text(f"{number(s.value, True)}\n{span(s, True)}") for s in ers))
    for shift in summary.lines if groups else ():
        of_shift = [summary.arm_er[arm, shift] for arm in summary.arms]
        table.add_row(Text(f"  on {shift}"), *(Text(number(score.value, True)) for score in of_shift))
    return table


def _by_arm(summary: Summary, caption: str) -> RichTable:
    table = RichTable(title="Top-1 accuracy, percent", caption=caption, title_justify="left")
    table.add_column("arm")
    shown = [summary.clean, *([MEAN_OF_SHIFTS, f"minus {compared_with(summary)}"] if summary.mean_top1 else [])]
    for name in (*shown, *(["effective robustness"] if summary.mean_er else [])):
        table.add_column(Text(name), justify="right")
    for arm in summary.arms:
        cells = [Text(number(summary.arm_top1[arm, summary.clean].value))]
        if summary.mean_top1:
            gain = _gain(difference(summary, arm, MEAN_OF_SHIFTS))
            cells += [Text(number(summary.mean_top1[arm].value)), _on_one_line(gain)]
        if summary.mean_er:
            cells.append(_on_one_line(_gain(summary.mean_er[arm])))
        table.add_row(Text(row_name(summary, arm)), *cells)
    return table


def _on_one_line(figure: Text) -> Text:
    value, _, interval = figure.plain.partition("\n")
    return Text(f"{value} ({interval})" if interval else value, style=figure.style)


def _gain(score: Score | None) -> Text:
    if score is None:
        return Text("reference", style="dim")
    return Text(f"{number(score.value, True)}\n{span(score, True)}", style="bold" if is_sure(score) else "dim")
