"""The report's tables as plain rows: one shape for HTML, Markdown and the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from genrobust.core import MEAN_OF_SHIFTS, Score, Summary
from genrobust.report.wording import EN_DASH, count, difference, is_sure, number, span


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading: `note` says its size ("412 images, 58 classes"), `kind` is clean, shift, mean or out.

    "out" is a shift that was left out of the mean.
    """

    name: str
    note: str
    kind: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One figure as shown: `value` sorts it (None: there is none), `best` marks the column's highest.

    `sure` says whether a difference's interval excludes zero (None: no difference); `extrapolated` marks an effective
    robustness beyond the fitted range.
    """

    value: float | None
    text: str = EN_DASH
    interval: str = ""
    method: str = ""
    best: bool = False
    sure: bool | None = None
    extrapolated: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` pairs an arm with one Entry a column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Entry, ...]], ...]


def accuracy_table(summary: Summary) -> Table:
    """Top-1 by arm and test set: the clean set, the shifts, their mean, and what is left out of it."""

    def entry(arm: str, column: Column) -> Entry:
        if column.kind == "mean":
            return _figure(summary.mean_top1.get(arm))
        return _figure(summary.arm_top1.get((arm, column.name)))

    return _best_marked(_table(summary, summary.arms, entry), summary)


def robustness_table(summary: Summary) -> Table | None:
    """Effective robustness in points by arm and shift, or None where no shift has a line."""
    if not summary.lines:
        return None
    beyond = {(c.arm, c.test_set) for c in summary.cells if c.extrapolated}

    def entry(arm: str, column: Column) -> Entry:
        if column.kind == "mean":
            far = any((arm, shift) in beyond for shift in summary.shifts)
            return replace(_figure(summary.mean_er.get(arm), signed=True), extrapolated=far)
        far = (arm, column.name) in beyond
        return replace(_figure(summary.arm_er.get((arm, column.name)), signed=True), extrapolated=far)

    return _best_marked(_without(_table(summary, summary.arms, entry), "clean"), summary)


def multi_id_table(summary: Summary) -> Table | None:
    """Effective robustness beyond two ID sets, in points by arm and shift; None where the study names no second one."""
    multi = summary.multi_id
    if multi is None or not multi.planes:
        return None

    def entry(arm: str, column: Column) -> Entry:
        if column.kind == "mean":
            far = any((arm, shift) in multi.beyond for shift in summary.shifts)
            return replace(_figure(multi.mean_er.get(arm), signed=True), extrapolated=far)
        score = multi.arm_er.get((arm, column.name))
        return replace(_figure(score, signed=True), extrapolated=(arm, column.name) in multi.beyond)

    return _best_marked(_without(_table(summary, summary.arms, entry), "clean"), summary)


def difference_table(summary: Summary, figure: str) -> Table | None:
    """Each arm minus its reference in points, for `figure` "top1" or "er"; None where nothing is compared."""
    arms = [arm for arm in summary.arms if summary.reference_of(arm) != arm]
    pairs = {(arm, summary.reference_of(arm)) for arm in arms}
    if not any(d.figure == figure and (d.arm, d.reference) in pairs for d in summary.differences):
        return None

    def entry(arm: str, column: Column) -> Entry:
        score = difference(summary, arm, MEAN_OF_SHIFTS if column.kind == "mean" else column.name, figure)
        return replace(_figure(score, signed=True), sure=None if score is None else is_sure(score))

    table = _table(summary, arms, entry)
    return _without(table, "clean") if figure == "er" else table


def _table(summary: Summary, arms: Sequence[str], entry: Callable[[str, Column], Entry]) -> Table:
    columns = [Column(summary.clean, _size(summary, summary.clean), "clean")]
    columns += [Column(shift, _size(summary, shift), "shift") for shift in summary.shifts]
    if summary.shifts:
        columns.append(Column(MEAN_OF_SHIFTS, count(len(summary.shifts), "set"), "mean"))
    columns += [Column(name, _size(summary, name), "out") for name in summary.left_out]
    return Table(tuple(columns), tuple((arm, tuple(entry(arm, c) for c in columns)) for arm in arms))


def _size(summary: Summary, test_set: str) -> str:
    score = next(c.top1 for c in summary.cells if c.test_set == test_set)
    return f"{count(score.n, 'image')}, {score.classes} classes"


def _figure(score: Score | None, signed: bool = False) -> Entry:
    if score is None:
        return Entry(None)
    return Entry(score.value, number(score.value, signed), span(score, signed), score.method)


def _best_marked(table: Table, summary: Summary) -> Table:
    """The highest of each column marked, and with it all that reads the same; not where there is one arm alone.

    What was trained elsewhere does not compete.
    """
    rows = [list(entries) for _, entries in table.rows]
    own = [r for r, (arm, _) in enumerate(table.rows) if arm not in summary.trained_elsewhere]
    for i in range(len(table.columns) if len(own) > 1 else 0):
        shown = {r: rows[r][i].value for r in own}
        values = [value for value in shown.values() if value is not None]
        for r, value in shown.items():
            if value is not None and number(value) == number(max(values)):
                rows[r][i] = replace(rows[r][i], best=True)
    return Table(table.columns, tuple((arm, tuple(row)) for (arm, _), row in zip(table.rows, rows, strict=True)))


def _without(table: Table, kind: str) -> Table:
    kept = [i for i, c in enumerate(table.columns) if c.kind != kind]
    return Table(
        tuple(table.columns[i] for i in kept), tuple((arm, tuple(row[i] for i in kept)) for arm, row in table.rows)
    )
