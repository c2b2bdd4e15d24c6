"""Tables of baseline models: CSV files with a row per model and test set. Helpers that all accuracy tables share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genrobust.core import BaselineModel, UserError, count, is_missing, near_names, read_csv, some_of
from genrobust.robustness import find_repeated

ACCURACIES = ("clean", "shifted")
BASELINE_COLUMNS = ("model", "test_set", *ACCURACIES)
ARCHITECTURE = "architecture"  # optional column
ROUNDING = 1e-5  # fraction of 100 % by which rounding may move an accuracy outside 0 to 100 %


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a table of baselines, accuracies in percent. NaN for an empty cell."""

    model: str
    test_set: str
    clean: float
    shifted: float
    architecture: str


def read_baselines(path: Path, key: str, shifts: Sequence[str]) -> tuple[list[BaselineModel], list[str]]:
    """Return the models of a table of baselines, with notes on what is left out or missing.

    The columns are `BASELINE_COLUMNS`, in percent, and optionally `ARCHITECTURE`. Rows of test sets that are not in
    `shifts` are left out. Of models with the same accuracies on every test set, only the first is used.
    """
    rows = _read_rows(path, key)
    complete = [row for row in rows if not math.isnan(row.clean) and not math.isnan(row.shifted)]
    if not complete:
        raise UserError(f"{path}: no row has both accuracies, clean and shifted")
    names = [f"{row.model} on {row.test_set}" for row in complete]
    clean = clip_accuracies(f"{path}: clean", names, np.array([row.clean for row in complete]), 100).tolist()
    shifted = clip_accuracies(f"{path}: shifted", names, np.array([row.shifted for row in complete]), 100).tolist()
    accuracies: dict[tuple[str, str], tuple[float, float]] = {}
    for row, row_clean, row_shifted in zip(complete, clean, shifted, strict=True):
        accuracies[row.model, row.test_set] = (row_clean, row_shifted)
    copied = _find_copies(accuracies)
    notes = []
    if len(complete) < len(rows):
        notes.append(f"{path}: {count(len(rows) - len(complete), 'row')} skipped: no accuracy")
    if copied:
        notes.append(f"{path}: {count_names(copied, 'model')} left out: all accuracies are those of another one")
    sets = list(dict.fromkeys(row.test_set for row in complete))
    for shift in shifts:
        if shift not in sets:
            near = suggestion(shift, sets, "test sets")
            notes.append(f"No baseline line for {shift}: {path} has no rows of it; {near}.")
    baselines = []
    for row in complete:
        if row.test_set in shifts and row.model not in copied:
            row_clean, row_shifted = accuracies[row.model, row.test_set]
            baselines.append(BaselineModel(row.model, row.test_set, row_clean, row_shifted, row.architecture))
    return baselines, notes


def _read_rows(path: Path, key: str) -> list[_Row]:
    (_, columns), *lines = read_csv(path, key)
    model, test_set, clean, shifted = (column_index(column, key, path, columns) for column in BASELINE_COLUMNS)
    architecture = columns.index(ARCHITECTURE) if ARCHITECTURE in columns else None
    rows = []
    seen: set[tuple[str, str]] = set()
    for line, cells in lines:
        pair = cells[model], cells[test_set]
        if pair in seen:
            raise UserError(f"{path}, line {line}: {pair[0]!r} has a row of {pair[1]!r} already; remove one of them")
        seen.add(pair)
        rows.append(
            _Row(
                model=cells[model],
                test_set=cells[test_set],
                clean=read_accuracy(cells[clean], path, line, "clean"),
                shifted=read_accuracy(cells[shifted], path, line, "shifted"),
                architecture="" if architecture is None else cells[architecture],
            )
        )
    return rows


def _find_copies(accuracies: Mapping[tuple[str, str], tuple[float, float]]) -> list[str]:
    """Return the models that have the accuracies of an earlier model on every test set."""
    models = list(dict.fromkeys(model for model, _ in accuracies))
    sets = list(dict.fromkeys(test_set for _, test_set in accuracies))
    table = np.full((len(models), len(sets), 2), -1.0)  # -1 for a missing row, which is no accuracy
    for (model, test_set), pair in accuracies.items():
        table[models.index(model), sets.index(test_set)] = pair
    return [models[i] for i in np.flatnonzero(find_repeated(table.reshape(len(models), -1)))]


def column_index(column: str, option: str, path: Path, columns: Sequence[str]) -> int:
    """Return the place of the column that `option` names. Raise UserError if `path` has none or several."""
    times = columns.count(column)
    if times > 1:
        raise UserError(f"{option}: {path} has {times} columns named {column!r}; rename one of them")
    if times == 0:
        raise UserError(f"{option}: {path} has no column {column!r}; {suggestion(column, columns)}")
    return columns.index(column)


def read_accuracy(cell: str, path: Path, line: int, column: str) -> float:
    """Return the number in a cell, NaN for an empty cell. Raise UserError that names the file, line and column."""
    try:
        if is_missing(cell):
            return math.nan
        # Python's float() also accepts other digits and 1_000.
        if not cell.isascii() or "_" in cell:
            raise ValueError
        return float(cell)
    except ValueError:
        hint = ": write a decimal point" if "," in cell else ""
        raise UserError(f"{path}, line {line}: {column} is {cell!r}, which is no number{hint}") from None


def clip_accuracies(column: str, names: Sequence[str], values: np.ndarray, top: float) -> np.ndarray:
    """Clip accuracies to the range from 0 to `top`. Refuse a value that is outside by more than rounding."""
    in_range = np.abs(values - top / 2) <= top * (0.5 + ROUNDING)  # false for NaN
    if not in_range.all():
        worst = int((~in_range).argmax())
        raise UserError(f"{column}: {values[worst]:g} ({names[worst]}) is no accuracy from 0 to {top:g}")
    return np.clip(values, 0, top)


def suggestion(name: str, known: Sequence[str], noun: str = "columns") -> str:
    """Suggest the `known` names that are similar to `name`, or list the first of them."""
    known = [" ".join(text.split()) for text in known if text]  # a column name may contain line breaks
    near = near_names(name, known)
    if not near and name:
        near = [text for text in known if name.lower() in text.lower()][:5]
    if near:
        return f"near it: {', '.join(near)}"
    return f"its {noun} are {some_of(known)}"


def count_names(names: Sequence[str], noun: str) -> str:
    """Count and list `names`: "7 models (a, b, c and 4 more)". `noun` is in the singular."""
    return f"{count(len(names), noun)} ({some_of(names, 3)})"
