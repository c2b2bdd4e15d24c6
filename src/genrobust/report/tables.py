"""The tables of scores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from genrobust.core import MEAN_OF_SHIFTS, Score, Summary
from genrobust.report.nouns import Column, Entry, Table
from genrobust.report.wording import (
    EN_DASH,
    compared_with,
    count,
    gain,
    is_sure,
    number,
    over_shifts,
    references,
    shifts_in_mean,
    span,
)
from genrobust.robustness import Metric


def main_tables(summary: Summary, metrics: Iterable[Metric]) -> dict[str, Table]:
    """Return the tables of the metrics that have sections of their own, by name, top-1 accuracy first."""
    return _tables(summary, metrics, metric_table, main=True)


def main_differences(summary: Summary, metrics: Iterable[Metric]) -> dict[str, Table]:
    """Return the tables of differences in these metrics, by name; none where nothing is compared."""
    return _tables(summary, metrics, difference_table, main=True)


def further_tables(summary: Summary, metrics: Iterable[Metric]) -> dict[str, Table]:
    """Return the tables of all other metrics, by name, with the gain beside the mean."""
    return _tables(summary, metrics, _further_table, main=False)


def metric_table(summary: Summary, metric: Metric) -> Table | None:
    """Return `metric` by arm and test set: the mean of the shifts, the clean set, the shifts, and what is left out.

    None where it was not measured. Sets and arms that it says nothing of are left out.
    """
    columns = _columns(summary, metric)
    return _without_empty(Table(columns, _rows(summary, metric, columns), metric.caption))


def difference_table(summary: Summary, metric: Metric) -> Table | None:
    """Return each arm minus its reference in `metric`; None where nothing is compared."""
    columns = _columns(summary, metric, ranged=False)
    compared = [arm for arm in summary.arms if summary.reference_of(arm) != arm]
    rows = [
        (arm, [difference_entry(gain(summary, metric.name, arm, column.name), metric) for column in columns])
        for arm in compared
    ]
    if len(summary.shifts) > 1:
        at = 1 + next(i for i, column in enumerate(columns) if column.kind == "mean")
        columns = (*columns[:at], Column("shifts like these", "95 % interval", "gain"), *columns[at:])
        for arm, entries in rows:
            entries.insert(at, _interval_entry(over_shifts(summary, metric.name, arm), metric))
    caption = f"{metric.title} minus that of {compared_with(summary)}, {metric.difference_unit}"
    shown = tuple((arm, tuple(entries)) for arm, entries in rows)
    minus = {arm: summary.reference_of(arm) for arm in compared} if len(references(summary)) > 1 else {}
    return _without_empty(Table(columns, shown, caption, minus=minus))


def dagger(tables: Iterable[Table]) -> str:
    """Return what a dagger behind the name of a test set means, as a sentence; "" without any."""
    kinds = (column.kind for table in tables for column in table.columns)
    return "† left out of the mean." if "out" in kinds else ""


def _further_table(summary: Summary, metric: Metric) -> Table | None:
    table = metric_table(summary, metric)
    at = next((i for i, column in enumerate(table.columns, 1) if column.kind == "mean"), 0) if table else 0
    if table is None or not at or not references(summary):
        return table
    head = Column(f"minus {compared_with(summary)}", MEAN_OF_SHIFTS, "gain")
    gains = {arm: difference_entry(gain(summary, metric.name, arm), metric) for arm, _ in table.rows}
    rows = tuple((arm, (*row[:at], gains[arm], *row[at:])) for arm, row in table.rows)
    return replace(table, columns=(*table.columns[:at], head, *table.columns[at:]), rows=rows)


def _tables(
    summary: Summary, metrics: Iterable[Metric], make_table: Callable[[Summary, Metric], Table | None], main: bool
) -> dict[str, Table]:
    shown = (metric for metric in metrics if (metric.section is not None) is main)
    return {metric.name: table for metric in shown if (table := make_table(summary, metric))}


def _columns(summary: Summary, metric: Metric, ranged: bool = True) -> tuple[Column, ...]:
    few = summary.by_group if ranged and metric.name == "top1" else {}  # whose groups stand in place of an interval
    in_mean, every = shifts_in_mean(summary, metric), len(summary.shifts)
    over = "" if len(in_mean) == every else f"{len(in_mean)} of "
    mean = [Column(MEAN_OF_SHIFTS, f"{over}{count(every, 'set')}", "mean")] if every else []
    kinds = {summary.clean: "clean"} | {name: "shift" if name in in_mean else "out" for name in summary.tests[1:]}
    return (*mean, *(Column(name, _size_note(summary, name, few), kind) for name, kind in kinds.items()))


def _size_note(summary: Summary, test_set: str, few: Collection[str]) -> str:
    score = summary.score("top1", summary.arms[0], test_set)
    of_groups = f"{'range of ' if test_set in few else ''}{count(score.groups, 'group')}, " if score.groups else ""
    return f"{count(score.n, 'image')}, {of_groups}{count(score.classes, 'class')}"


def _rows(summary: Summary, metric: Metric, columns: Sequence[Column]) -> tuple[tuple[str, tuple[Entry, ...]], ...]:
    """The scores, with the best of each column marked.

    What was trained elsewhere does not compete, nor what began with it, unless all did.
    """
    rows = {arm: [_entry_of(summary, metric, arm, column.name) for column in columns] for arm in summary.arms}
    competing = {arm: row for arm, row in rows.items() if arm not in summary.trained_elsewhere}
    competing = {arm: row for arm, row in competing.items() if arm not in summary.pretrained} or competing
    _mark_best(columns, list(competing.values()), metric)
    return tuple((arm, tuple(row)) for arm, row in rows.items())


def _mark_best(columns: Sequence[Column], rows: Sequence[list[Entry]], metric: Metric) -> None:
    """Mark the best entry of each column in `rows`, and with it those that read the same, unless all do.

    Nothing is marked in a column that is left out of the mean, or where some metric is missing or extrapolates.
    """
    for i, column in enumerate(columns):
        values = [row[i].value for row in rows if not row[i].extrapolated]
        measured = [value for value in values if value is not None]
        if column.kind != "out" and len(measured) == len(rows):
            best = number((max if metric.higher_is_better else min)(measured), metric.signed, metric.digits)
            if any(row[i].text != best for row in rows):
                for row in rows:
                    row[i] = replace(row[i], best=row[i].text == best)


def _entry_of(summary: Summary, metric: Metric, arm: str, test_set: str) -> Entry:
    entry = score_entry(summary.find(metric.name, arm, test_set), metric, metric.signed)
    few = summary.by_group.get(test_set, {}).get(arm) if metric.name == "top1" else None
    if not few:
        return entry
    return replace(entry, interval=f"{number(min(few))}{EN_DASH}{number(max(few))}")


def score_entry(score: Score | None, metric: Metric, signed: bool = False) -> Entry:
    """Return a score as shown, with its interval: a gap where it was not measured."""
    if score is None:
        return Entry(None)
    return Entry(
        value=score.value,
        text=number(score.value, signed, metric.digits),
        interval=span(score, signed, metric.digits),
        method=score.method,
        extrapolated=score.extrapolated,
    )


def difference_entry(score: Score | None, metric: Metric) -> Entry:
    """Return a difference as shown: a gap where it was not measured."""
    entry = score_entry(score, metric, signed=True)
    return entry if score is None else replace(entry, sure=is_sure(score))


def _interval_entry(score: Score | None, metric: Metric) -> Entry:
    """Return the interval of a difference alone."""
    if score is None:
        return Entry(None)
    return Entry(score.lo, span(score, True, metric.digits), sure=is_sure(score))


def _without_empty(table: Table) -> Table | None:
    """`table` without the rows and columns that hold nothing; None where it holds nothing."""
    rows = [(arm, entries) for arm, entries in table.rows if any(entry.value is not None for entry in entries)]
    columns = [i for i in range(len(table.columns)) if any(entries[i].value is not None for _, entries in rows)]
    if not rows:
        return None
    return replace(
        table,
        columns=tuple(table.columns[i] for i in columns),
        rows=tuple((arm, tuple(entries[i] for i in columns)) for arm, entries in rows),
    )
