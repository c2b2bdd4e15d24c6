"""Published accuracy tables: CSV files with one row per model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genrobust.core import UserError, count, read_csv
from genrobust.data import clip_accuracies, column_index, read_accuracy
from genrobust.robustness import Published

# 1, and the error that rounding adds.
LARGEST_FRACTION = 1.001


def read_published(table: Path | None, id_column: str, shift: str, key: Sequence[str] = ()) -> Published:
    """Return the accuracies in the columns `id_column` and `shift`, each named COLUMN (of `table`) or FILE:COLUMN.

    A model's name is its values in the columns `key`, joined by commas; by default the first column. Two files are
    joined on it. Accuracies are percents, or fractions if none is above 1.

    Raises:
        UserError: A file or column is missing or is named twice, a name is in two rows, a cell is no accuracy, or no
            model has both accuracies. The message names the file, column and line.
    """
    clean = _find_column(table, id_column, "--id")
    shifted = _find_column(table, shift, "--shift")
    if (clean.path, clean.name) == (shifted.path, shifted.name):
        raise UserError(f"--id and --shift are the same column, {clean.name!r} of {clean.path}")
    clean_of, clean_rows = clean.read(key)
    shifted_of, shifted_rows = shifted.read(key)
    rows = {clean.path: clean_rows, shifted.path: shifted_rows}
    joined = {name: (clean_of[name], shifted_of[name]) for name in clean_of if name in shifted_of}
    if not joined:
        lacking = "have no model in common" if len(rows) > 1 else "names no model"
        raise UserError(
            f"{' and '.join(map(str, rows))} {lacking}: name the columns that tell models apart with --key, such as "
            "--key model,img_size"
        )
    # Columns of two files often have the same name, so the files tell them apart.
    id_label = clean.label if len(rows) > 1 else clean.name
    shift_label = shifted.label if len(rows) > 1 else shifted.name
    names = [name for name, accuracies in joined.items() if not np.isnan(accuracies).any()]
    if not names:
        raise UserError(f"none of the {len(joined):,} models has an accuracy in both {id_label!r} and {shift_label!r}")
    notes = []
    for path, size in rows.items():
        if size > len(names):
            notes.append(f"{count(size - len(names), 'row')} of {path} skipped: no name, or not both accuracies")
    values = np.array([joined[name] for name in names])
    top = 1 if values.max() <= LARGEST_FRACTION else 100
    return Published(
        names=tuple(names),
        clean=100 / top * clip_accuracies(f"--id {id_label}", names, values[:, 0], top),
        shifted=100 / top * clip_accuracies(f"--shift {shift_label}", names, values[:, 1], top),
        id_column=id_label,
        shift=shift_label,
        notes=tuple(notes),
        files=tuple(map(str, rows)),
    )


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of accuracies that an `option` names."""

    path: Path
    name: str
    option: str

    @property
    def label(self) -> str:
        """Its name after the name of the file."""
        return f"{self.path.name}:{self.name}"

    def read(self, key: Sequence[str]) -> tuple[dict[str, float], int]:
        """Return the accuracies by the values in the columns `key`, and the number of rows.

        Accuracies are percents or fractions, NaN for an empty cell.
        """
        (_, columns), *rows = read_csv(self.path, "the table")
        if not rows:
            raise UserError(f"{self.path}: no rows; a table is CSV with a header and one row per model")
        key_indices = [column_index(column, "--key", self.path, columns) for column in key] or [0]
        index = column_index(self.name, self.option, self.path, columns)
        accuracies: dict[str, float] = {}
        for line, row in rows:
            values = [row[i] for i in key_indices]
            name = ",".join(values)
            accuracy = read_accuracy(row[index], self.path, line, self.name)
            if name in accuracies:
                key_columns = ",".join(columns[i] for i in key_indices)
                raise UserError(
                    f"{self.path}: {key_columns} = {name!r} is in more than one row: name the columns that tell models "
                    "apart with --key, such as --key model,img_size"
                )
            if any(values):
                accuracies[name] = accuracy
        return accuracies, len(rows)


def _find_column(table: Path | None, text: str, option: str) -> _Column:
    """Return the column that an option's COLUMN or FILE:COLUMN names. Both may contain colons."""
    if table is not None and (":" not in text or text in _header(table)):
        return _Column(table, text, option)
    if ":" not in text:
        raise UserError(f"{option} {text}: which file? Give the table first, or {option} FILE:{text}")
    for colon, letter in enumerate(text):
        # os.path.isfile accepts text that is no path.
        if letter == ":" and os.path.isfile(text[:colon]):  # noqa: PTH113
            return _Column(Path(text[:colon]), text[colon + 1 :], option)
    also = "" if table is None else f", and {table} has no column {text!r}"
    raise UserError(f"{option}: cannot read {text.rpartition(':')[0]}: no such file{also}")


def _header(table: Path) -> Sequence[str]:
    _, columns = next(read_csv(table, "the table"))
    return columns
