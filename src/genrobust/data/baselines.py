"""Tables of baselines: CSV files with a row a model and test set; and what all accuracy tables share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genrobust.core import BaselineModel, UserError, count, is_missing, near_names, read_csv, some_of
from genrobust.robustness import copies

ACCURACIES = ("clean", "shifted")
BASELINE_COLUMNS = ("model", "test_set", *ACCURACIES)
ARCHITECTURE = "architecture"  # a further column, which may be missing
ROUNDING = 1e-5  # of 100 %, by which a sum of floating-point numbers may leave 0 to 100 %


def read_baselines(path: Path, key: str, shifts: Sequence[str]) -> tuple[list[BaselineModel], list[str]]:
    """Return the models of a table with a row a model and test set, with notes on what is left out or missing.

    The columns are `BASELINE_COLUMNS`, in percent, and where known `ARCHITECTURE`. Rows of test sets not in `shifts`
    are left out, and so are all but the first of `copies`: models with the same accuracies on every test set.

    Args:
        key: The key that named the table, for messages.

    Raises:
        UserError: No such file, a missing column, a second row of a model on a test set, a cell that is no accuracy,
            or no row with both. The message names the file, and the column, line or model.
    """
    (_, columns), *rows = read_csv(path, key)
    places = [column_index(column, key, path, columns) for column in BASELINE_COLUMNS]
    kinds: dict[tuple[str, str], str] = {}
    cells = []
    for line, row in rows:
        model, test_set, *of_row = (row[place] for place in places)
        if (model, test_set) in kinds:
            raise UserError(f"{path}, line {line}: {model!r} has a row of {test_set!r} already; remove one of them")
        kinds[model, test_set] = row[columns.index(ARCHITECTURE)] if ARCHITECTURE in columns else ""
        cells.append([read_accuracy(cell, path, line, column) for cell, column in zip(of_row, ACCURACIES, strict=True)])
    values = np.array(cells).reshape(-1, 2)
    complete = ~np.isnan(values).any(axis=1)
    if not complete.any():
        raise UserError(f"{path}: no row has both accuracies, clean and shifted")
    scored = [pair for pair, keep in zip(kinds, complete.tolist(), strict=True) if keep]
    names = [f"{model} on {test_set}" for model, test_set in scored]
    percents = [
        clip_accuracies(f"{path}: {column}", names, of_column, 100).tolist()
        for column, of_column in zip(ACCURACIES, values[complete].T, strict=True)
    ]
    accuracies = dict(zip(scored, zip(*percents, strict=True), strict=True))
    models, sets = (list(dict.fromkeys(names)) for names in zip(*scored, strict=True))
    of_models = np.array([[accuracies.get((model, test_set), (-1, -1)) for test_set in sets] for model in models])
    copied = [models[i] for i in np.flatnonzero(copies(of_models.reshape(len(models), -1)))]
    notes = [f"{path}: {count(int((~complete).sum()), 'row')} skipped: no accuracy"] if not complete.all() else []
    if copied:
        notes.append(f"{path}: {listing(copied, 'model')} left out: all accuracies are those of another one")
    for shift in shifts:
        if shift not in sets:
            near = suggestion(shift, sets, "test sets")
            notes.append(f"No baseline line for {shift}: {path} has no rows of it; {near}.")
    baselines = [
        BaselineModel(model, test_set, clean, shifted, kinds[model, test_set])
        for (model, test_set), (clean, shifted) in accuracies.items()
        if test_set in shifts and model not in copied
    ]
    return baselines, notes


def column_index(column: str, option: str, path: Path, columns: Sequence[str]) -> int:
    """Return the place of the column that `option` names. Raises UserError if `path` has none or several."""
    count = columns.count(column)
    if count > 1:
        raise UserError(f"{option}: {path} has {count} columns named {column!r}; rename one of them")
    if not count:
        raise UserError(f"{option}: {path} has no column {column!r}; {suggestion(column, columns)}")
    return columns.index(column)


def read_accuracy(cell: str, path: Path, line: int, column: str) -> float:
    """Return the number in a cell, NaN for none. Raises UserError that names the file, line and column."""
    try:
        if is_missing(cell):
            return math.nan
        if not cell.isascii() or "_" in cell:  # which Python takes for digits and for 1_000
            raise ValueError
        return float(cell)
    except ValueError:
        hint = ": write a decimal point" if "," in cell else ""
        raise UserError(f"{path}, line {line}: {column} is {cell!r}, which is no number{hint}") from None


def clip_accuracies(column: str, names: Sequence[str], values: np.ndarray, top: float) -> np.ndarray:
    """Return the accuracies from 0 to `top`. Raises UserError for one that more than rounding sets outside."""
    wrong = ~(np.abs(values - top / 2) <= top * (0.5 + ROUNDING))
    if wrong.any():
        worst = int(wrong.argmax())
        raise UserError(f"{column}: {values[worst]:g} ({names[worst]}) is no accuracy from 0 to {top:g}")
    return np.clip(values, 0, top)


def suggestion(name: str, known: Sequence[str], noun: str = "columns") -> str:
    """Return what a message suggests in place of `name`: the `known` names near it, or the first of them."""
    known = [" ".join(text.split()) for text in known if text]  # a column may hold line breaks
    near = near_names(name, known) or [text for text in known if name and name.lower() in text.lower()][:5]
    return f"near it: {', '.join(near)}" if near else f"its {noun} are {some_of(known)}"


def listing(names: Sequence[str], noun: str) -> str:
    """How many `names` and the first few: "7 models (a, b, c and 4 more)". `noun` is in the singular."""
    return f"{count(len(names), noun)} ({some_of(names, 3)})"
