"""Published accuracy tables: CSV files with a row a model."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genrobust.core import UserError, count, read_csv, read_lines
from genrobust.data import clip_accuracies, column_index, count_names, read_accuracy, suggestion
from genrobust.robustness import Published

LARGEST_FRACTION = 1.001  # 1, and what rounding adds


def read_published(table: Path | None, id_column: str, shift: str, key: Sequence[str] = ()) -> Published:
    """Return the accuracies in the columns `id_column` and `shift`, each named COLUMN (of `table`) or FILE:COLUMN.

    A model's name is its values in the columns `key`, joined by commas; by default the first column. Two files are
    joined on it. Accuracies are percents, or fractions where none is above 1.

    Raises:
        UserError: A file or column is not there or is named twice, a name stands twice, a cell is no accuracy, or no
            model has both accuracies. The message names the file, column and line.
    """
    options = {"--id": id_column, "--shift": shift}
    sources = [_file_and_column(table, text, option) for option, text in options.items()]
    if sources[0] == sources[1]:
        raise UserError(f"--id and --shift are the same column, {sources[0][1]!r} of {sources[0][0]}")
    columns = [_read_column(*source, option, key) for source, option in zip(sources, options, strict=True)]
    sizes = {path: size for (path, _), (_, size) in zip(sources, columns, strict=True)}
    clean, shifted = (accuracies for accuracies, _ in columns)
    joined = {name: (clean[name], shifted[name]) for name in clean if name in shifted}
    if not joined:
        lacking = "have no model in common" if len(sizes) > 1 else "names no model"
        raise UserError(
            f"{' and '.join(map(str, sizes))} {lacking}: name the columns that tell models apart with --key, such as "
            "--key model,img_size"
        )
    # the files tell the columns apart, whose names are often the same
    labels = [f"{path.name}:{column}" if len(sizes) > 1 else column for path, column in sources]
    names = [name for name, both in joined.items() if not np.isnan(both).any()]
    if not names:
        raise UserError(f"none of the {len(joined):,} models has an accuracy in both {labels[0]!r} and {labels[1]!r}")
    notes = [
        f"{count(size - len(names), 'row')} of {path} skipped: no name, or not both accuracies"
        for path, size in sizes.items()
        if size > len(names)
    ]
    values = np.array([joined[name] for name in names])
    top = 1 if values.max() <= LARGEST_FRACTION else 100
    called = [f"{option} {label}" for option, label in zip(options, labels, strict=True)]
    ids, shifts = (100 / top * clip_accuracies(of, names, row, top) for of, row in zip(called, values.T, strict=True))
    return Published(tuple(names), ids, shifts, labels[0], labels[1], tuple(notes), tuple(map(str, sizes)))


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
        return chosen, [f"{wanted}: {count_names(absent, 'name')} without all accuracies"] if absent else []
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


def _read_column(path: Path, column: str, option: str, key: Sequence[str]) -> tuple[dict[str, float], int]:
    """The accuracies in a column that `option` names, by the values in the columns `key`; and the number of rows.

    They are percents or fractions, NaN where there is none.
    """
    (_, columns), *rows = read_csv(path, "the table")
    if not rows:
        raise UserError(f"{path}: no rows; a table is CSV with a header and a row a model")
    places = [column_index(k, "--key", path, columns) for k in key] or [0]
    place = column_index(column, option, path, columns)
    accuracies: dict[str, float] = {}
    for line, row in rows:
        parts, accuracy = [row[i] for i in places], read_accuracy(row[place], path, line, column)
        name = ",".join(parts)
        if name in accuracies:
            raise UserError(
                f"{path}: {','.join(columns[i] for i in places)} = {name!r} stands in more than one row: name "
                "the columns that tell models apart with --key, such as --key model,img_size"
            )
        if any(parts):
            accuracies[name] = accuracy
    return accuracies, len(rows)
