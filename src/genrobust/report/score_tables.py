"""The tables of scores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from genrobust.core import MEAN_OF_SHIFTS, Score, Summary
from genrobust.report.report_section import Column, Entry, Table
from genrobust.report.wording import (
    EN_DASH,
    compared_with,
    count,
    gain,
    gain_over_shifts,
    is_sure,
    number,
    references,
    shifts_in_mean,
    span,
)
from genrobust.robustness import Metric

Row = tuple[str, list[Entry]]


def main_tables(summary: Summary, metrics: Iterable[Metric]) -> dict[str, Table]:
    """Return the tables of the metrics with sections of their own, by name, top-1 accuracy first."""
    main = [metric for metric in metrics if metric.section is not None]
    return _make_tables(summary, main, metric_table)


def main_differences(summary: Summary, metrics: Iterable[Metric]) -> dict[str, Table]:
    """Return the tables of differences in these metrics, by name. Empty if nothing is compared."""
    main = [metric for metric in metrics if metric.section is not None]
    return _make_tables(summary, main, difference_table)


def further_tables(summary: Summary, metrics: Iterable[Metric]) -> dict[str, Table]:
    """Return the tables of all other metrics, by name, with the gain next to the mean."""
    further = [metric for metric in metrics if metric.section is None]
    return _make_tables(summary, further, _further_table)


def _make_tables(
    summary: Summary, metrics: Iterable[Metric], make: Callable[[Summary, Metric], Table | None]
) -> dict[str, Table]:
    tables = {}
    for metric in metrics:
        table = make(summary, metric)
        if table is not None:
            tables[metric.name] = table
    return tables


def metric_table(summary: Summary, metric: Metric) -> Table | None:
    """Return `metric` by arm and test set: the mean of shifts, the clean set, shifts in the mean, and shifts left out.

    One shift has no mean. Test sets and arms without a score are left out. None if the metric was not measured.
    """
    columns = _columns(summary, metric, with_ranges=metric.name == "top1")
    rows = [(arm, _entries(summary, metric, arm, columns)) for arm in summary.arms]
    _mark_best(columns, _competing(summary, rows), metric)
    return _without_empty(_table(columns, rows, metric.caption))


def difference_table(summary: Summary, metric: Metric) -> Table | None:
    """Return each arm minus its reference in `metric`. None if nothing is compared."""
    columns = _columns(summary, metric)
    compared = [arm for arm in summary.arms if summary.reference_of(arm) != arm]
    rows = []
    for arm in compared:
        scores = [gain(summary, metric.name, arm, column.name) for column in columns]
        rows.append((arm, [difference_entry(score, metric) for score in scores]))
    if len(summary.shifts) > 1:
        after_mean = 1 + [column.kind for column in columns].index("mean")
        columns.insert(after_mean, Column("shifts like these", "95 % interval", "gain"))
        for arm, entries in rows:
            entries.insert(after_mean, _interval_entry(gain_over_shifts(summary, metric.name, arm), metric))
    table = _table(columns, rows, f"{metric.title} minus that of {compared_with(summary)}, {metric.difference_unit}")
    if len(references(summary)) > 1:
        table = replace(table, minus={arm: summary.reference_of(arm) for arm in compared})
    return _without_empty(table)


def _further_table(summary: Summary, metric: Metric) -> Table | None:
    table = metric_table(summary, metric)
    if table is None or not references(summary):
        return table
    names = [column.name for column in table.columns]
    leading = summary.leading
    if not summary.shifts or leading not in names:
        return table
    after_leading = 1 + names.index(leading)
    columns = list(table.columns)
    columns.insert(after_leading, Column(f"minus {compared_with(summary)}", leading, "gain"))
    rows = []
    for arm, row in table.rows:
        entries = list(row)
        entries.insert(after_leading, difference_entry(gain(summary, metric.name, arm, leading), metric))
        rows.append((arm, entries))
    return _table(columns, rows, table.caption)


def dagger(tables: Iterable[Table]) -> str:
    """Return the meaning of a dagger after the name of a test set, as a sentence; "" if no table has one."""
    for table in tables:
        if any(column.kind == "out" for column in table.columns):
            return "† left out of the mean."
    return ""


def _table(columns: Sequence[Column], rows: Sequence[Row], caption: str) -> Table:
    return Table(tuple(columns), tuple((name, tuple(entries)) for name, entries in rows), caption)


def _columns(summary: Summary, metric: Metric, with_ranges: bool = False) -> list[Column]:
    """Return the columns of the mean, the clean set, the shifts in the mean, and the shifts left out of it.

    One shift has no mean. If `with_ranges`, the range of few groups of images replaces an interval.
    """
    in_mean = shifts_in_mean(summary, metric)
    columns = []
    every = len(summary.shifts)
    if every > 1:
        note = count(every, "set")
        if len(in_mean) < every:
            note = f"{len(in_mean)} of {note}"
        columns.append(Column(MEAN_OF_SHIFTS, note, "mean"))
    ranged = summary.by_group if with_ranges else {}
    for test in summary.tests:
        kind = "clean" if test == summary.clean else "out"
        if test in in_mean:
            kind = "shift"
        columns.append(Column(test, _size_note(summary, test, ranged), kind))
    return columns


def _size_note(summary: Summary, test_set: str, ranged: Collection[str]) -> str:
    """Return the size of a test set: "412 images, range of 3 groups, 58 classes"."""
    score = summary.score("top1", summary.arms[0], test_set)
    parts = [count(score.n, "image")]
    if score.groups:
        groups = count(score.groups, "group")
        parts.append(f"range of {groups}" if test_set in ranged else groups)
    parts.append(count(score.classes, "class"))
    return ", ".join(parts)


def _competing(summary: Summary, rows: Sequence[Row]) -> list[list[Entry]]:
    """Return the rows that compete for the best value: no models trained elsewhere, nor arms that started from one.

    If all arms started from one, they compete.
    """
    own = [(arm, row) for arm, row in rows if arm not in summary.trained_elsewhere]
    from_scratch = [(arm, row) for arm, row in own if arm not in summary.pretrained]
    return [row for _, row in from_scratch or own]


def _mark_best(columns: Sequence[Column], rows: Sequence[list[Entry]], metric: Metric) -> None:
    """Mark the best entries of each column in `rows`, with all that show the same number, unless all do.

    Nothing is marked in a column that is left out of the mean, or if a value is missing or extrapolates.
    """
    choose = max if metric.higher_is_better else min
    for i, column in enumerate(columns):
        measured = []
        for row in rows:
            value = row[i].value
            if value is not None and not row[i].extrapolated:
                measured.append(value)
        if column.kind == "out" or len(measured) < len(rows):
            continue
        best = number(choose(measured), metric.signed, metric.digits)
        if all(row[i].text == best for row in rows):
            continue
        for row in rows:
            row[i] = replace(row[i], best=row[i].text == best)


def _entries(summary: Summary, metric: Metric, arm: str, columns: Sequence[Column]) -> list[Entry]:
    return [_entry(summary, metric, arm, column.name) for column in columns]


def _entry(summary: Summary, metric: Metric, arm: str, test_set: str) -> Entry:
    """Return a score as shown. The range of few groups of images is shown instead of the interval."""
    entry = score_entry(summary.find(metric.name, arm, test_set), metric, metric.signed)
    groups = summary.by_group.get(test_set, {}).get(arm)
    if metric.name != "top1" or not groups:
        return entry
    return replace(entry, interval=f"{number(min(groups))}{EN_DASH}{number(max(groups))}")


def score_entry(score: Score | None, metric: Metric, signed: bool = False) -> Entry:
    """Return a score as shown, with its interval; a gap if it was not measured."""
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
    """Return a difference as shown; a gap if it was not measured."""
    entry = score_entry(score, metric, signed=True)
    if score is None:
        return entry
    return replace(entry, sure=is_sure(score))


def _interval_entry(score: Score | None, metric: Metric) -> Entry:
    """Return the interval of a difference, without its value."""
    if score is None:
        return Entry(None)
    return Entry(score.lo, span(score, True, metric.digits), sure=is_sure(score))


def _without_empty(table: Table) -> Table | None:
    """Return `table` without empty rows and columns. None if everything is empty."""
    kept = []
    for i, entries in enumerate(zip(*(entries for _, entries in table.rows), strict=True)):
        if _has_value(entries):
            kept.append(i)
    rows = []
    for name, entries in table.rows:
        if _has_value(entries):
            rows.append((name, tuple(entries[i] for i in kept)))
    if not rows:
        return None
    return replace(table, columns=tuple(table.columns[i] for i in kept), rows=tuple(rows))


def _has_value(entries: Iterable[Entry]) -> bool:
    return any(entry.value is not None for entry in entries)
