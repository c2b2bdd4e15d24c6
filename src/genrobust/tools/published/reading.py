"""Published accuracy tables: CSV files with a row a model."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genrobust.core import UserError, read_csv, read_lines
from genrobust.data import clip_accuracies, column_index, listing, read_accuracy, row_count, suggestion
from genrobust.robustness import Published

LARGEST_FRACTION = 1.001  # 1, and what rounding adds


@dataclass(frozen=True, slots=True)
class _Table:
    """The M rows that have a name: their accuracies, percents or fractions [M], by column, NaN where there is none."""

    names: list[str]
    values: dict[str, np.ndarray]
    nameless: int


def read_published(table: Path | None, id_column: str, shift: str, key: Sequence[str] = ()) -> Published:
    """Return the accuracies in the columns `id_column` and `shift`, each named COLUMN (of `table`) or FILE:COLUMN.

    A model's name is its values in the columns `key`, joined by commas; by default the first column. Several files are
    joined on it. Accuracies are percents, or fractions where none is above 1.

    Raises:
        UserError: A file or column is not there or is named twice, a name stands twice, a cell is no accuracy, or no
            model has both accuracies. The message names the file, column and line.
    """
    options = ("--id", "--shift")
    sources = [_file_and_column(table, text, option) for text, option in zip((id_column, shift), options, strict=True)]
    if sources[0] == sources[1]:
        raise UserError(f"--id and --shift are the same column, {sources[0][1]!r} of {sources[0][0]}")
    wanted: dict[Path, dict[str, str]] = {}
    for (path, column), option in zip(sources, options, strict=True):
        wanted.setdefault(path, {})[column] = option
    tables = {path: _read_table(path, columns, key) for path, columns in wanted.items()}
    notes = [
        f"{row_count(content.nameless)} of {path} skipped: no name"
        for path, content in tables.items()
        if content.nameless
    ]
    names, rows = _join_tables(tables)
    labels = [column for _, column in sources]
    if len(tables) > 1:  # the files tell the columns apart, whose names are often the same
        labels = [f"{path.name}:{column}" for path, column in sources]
        for path, content in tables.items():
            if len(content.names) > len(names):
                notes.append(f"{row_count(len(content.names) - len(names))} of {path} skipped: not in the other file")
    values = np.array([tables[path].values[column][rows[path]] for path, column in sources])
    complete = ~np.isnan(values).any(axis=0)
    if not complete.any():
        raise UserError(f"none of the {len(names):,} models has an accuracy in both {labels[0]!r} and {labels[1]!r}")
    if not complete.all():
        notes.append(f"{row_count(int((~complete).sum()))} skipped: no accuracy in {labels[0]!r} or {labels[1]!r}")
    names = [name for name, keep in zip(names, complete, strict=True) if keep]
    called = [f"{option} {label}" for option, label in zip(options, labels, strict=True)]
    (clean, shifted), unit_notes = _in_percent(names, dict(zip(called, values[:, complete], strict=True)))
    notes += unit_notes
    return Published(tuple(names), clean, shifted, labels[0], labels[1], tuple(notes), tuple(map(str, tables)))


def _join_tables(tables: Mapping[Path, _Table]) -> tuple[list[str], dict[Path, np.ndarray]]:
    """The names that all tables have, in the order of the first, and the rows of each table that have them."""
    places = {path: {name: row for row, name in enumerate(table.names)} for path, table in tables.items()}
    first, *others = places.values()
    names = [name for name in first if all(name in other for other in others)]
    if not names:
        lacking = "have no model in common" if others else "names no model"
        raise UserError(
            f"{' and '.join(map(str, tables))} {lacking}: name the columns that tell models apart with --key, such as "
            "--key model,img_size"
        )
    return names, {path: np.array([row_of[name] for name in names]) for path, row_of in places.items()}


def choose_baselines(
    models: Published, baselines: str | None = None, exclude: str | None = None
) -> tuple[np.ndarray, list[str]]:
    """Return which models are baselines, bool [M], with notes: all, or those that `baselines` chooses.

    Args:
        baselines: A file with one name a line, or a regular expression that is searched for in each name.
        exclude: Likewise, those that are no baselines.

    Raises:
        UserError: A choice that matches no model; names the option.
    """
    chosen = np.ones(len(models.names), dtype=bool)
    notes: list[str] = []
    if baselines is not None:
        chosen, notes = _choose(models.names, baselines, "--baselines")
    if exclude is not None:
        excluded, said = _choose(models.names, exclude, "--exclude")
        chosen, notes = chosen & ~excluded, [*notes, *said]
    if baselines is None and exclude is None:
        notes.append("no baselines named: every model counts as one")
    return chosen, notes


def _choose(names: Sequence[str], wanted: str, option: str) -> tuple[np.ndarray, list[str]]:
    """Which of `names` are `wanted`, bool [M], and notes. Raises UserError that names `option`."""
    if os.path.isfile(wanted):  # noqa: PTH113 - it takes what is no path, such as a very long expression
        lines = {line for _, line in read_lines(Path(wanted), option)}
        absent = sorted(lines - set(names))
        chosen = np.array([name in lines for name in names], dtype=bool)
        if not chosen.any():
            hint = suggestion(absent[0], names, "models") if absent else "it is empty"
            raise UserError(f"{option}: {wanted} names no model with all accuracies; {hint}")
        return chosen, [f"{wanted}: {listing(absent, 'name')} without all accuracies"] if absent else []
    try:
        pattern = re.compile(wanted)
    except re.error as error:
        raise UserError(f"{option}: {wanted!r} is no file, and no regular expression either: {error}") from None
    chosen = np.array([pattern.search(name) is not None for name in names], dtype=bool)
    if not chosen.any():
        raise UserError(
            f"{option}: {wanted!r} is no file, and as a regular expression it matches none of the {len(names):,} "
            f"models, such as {names[0]!r}"
        )
    return chosen, []


def _file_and_column(table: Path | None, text: str, option: str) -> tuple[Path, str]:
    """The file and the column that an option's COLUMN or FILE:COLUMN means; either may hold colons itself."""
    if table is not None and (":" not in text or text in next(read_csv(table, "the table"))[1]):
        return table, text
    for colon in (i for i, letter in enumerate(text) if letter == ":"):
        if os.path.isfile(text[:colon]):  # noqa: PTH113 - as above
            return Path(text[:colon]), text[colon + 1 :]
    if ":" not in text:
        raise UserError(f"{option} {text}: which file? Give the table first, or {option} FILE:{text}")
    also = f", and {table} has no column {text!r}" if table is not None else ""
    raise UserError(f"{option}: cannot read {text.rpartition(':')[0]}: no such file{also}")


def _read_table(path: Path, wanted: Mapping[str, str], key: Sequence[str]) -> _Table:
    """The `wanted` columns, by the option that named each, of the rows that have a name in the columns `key`."""
    (_, columns), *rows = read_csv(path, "the table")
    if not rows:
        raise UserError(f"{path}: no rows; a table is CSV with a header and a row a model")
    places = [column_index(k, "--key", path, columns) for k in key] or [0]
    of_values = {column: column_index(column, option, path, columns) for column, option in wanted.items()}
    values = {
        column: np.array([read_accuracy(row[place], path, line, column) for line, row in rows])
        for column, place in of_values.items()
    }
    parts = [[row[place] for place in places] for _, row in rows]
    names = [",".join(of_row) if any(of_row) else "" for of_row in parts]
    has_name = np.array([bool(name) for name in names])
    named = [name for name in names if name]
    if twice := [name for name, times in Counter(named).items() if times > 1]:
        raise UserError(
            f"{path}: {','.join(columns[place] for place in places)} = {twice[0]!r} stands in more than one row: name "
            "the columns that tell models apart with --key, such as --key model,img_size"
        )
    return _Table(
        named, {column: accuracies[has_name] for column, accuracies in values.items()}, len(rows) - len(named)
    )


def _in_percent(names: Sequence[str], columns: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], list[str]]:
    """The accuracies of `columns`, by the option that named each, in percent, with notes: no model is below 1 % in all.

    Raises UserError, which names the option, for what is no accuracy.
    """
    small = [option for option, values in columns.items() if values.max() <= LARGEST_FRACTION]
    if len(small) == len(columns):
        return [100 * clip_accuracies(option, names, values, 1) for option, values in columns.items()], []
    notes = [f"{option}: no accuracy is above 1: read as percents, as those of the other column" for option in small]
    return [clip_accuracies(option, names, values, 100) for option, values in columns.items()], notes
