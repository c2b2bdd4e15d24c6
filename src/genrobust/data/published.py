"""Published accuracy tables: CSV files with a row a model, read as ID accuracies and a shifted one."""

from __future__ import annotations

import csv
import difflib
import io
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from genrobust.core import UserError
from genrobust.robustness import Published

MISSING = {"", "-", "nan", "na", "n/a", "none", "null"}  # cells that say that there is no accuracy, in lower case
UNITS = ("percent", "fraction")


@dataclass(frozen=True, slots=True)
class _Table:
    path: Path
    columns: list[str]
    rows: list[tuple[int, list[str]]]  # with the line of the file on which each ends

    def index(self, column: str, option: str) -> int:
        """Where `column` stands; raises UserError that names `option` and the nearest columns."""
        count = self.columns.count(column)
        if count == 1:
            return self.columns.index(column)
        if count:
            raise UserError(f"{option}: {self.path} has {count} columns named {column!r}; rename one of them")
        raise UserError(f"{option}: {self.path} has no column {column!r}; {_near(column, self.columns)}")


def read_published(
    table: Path | None, ids: Sequence[str], shift: str, key: Sequence[str] = (), unit: str | None = None
) -> Published:
    """The accuracies in the columns `ids` and `shift`, each named COLUMN (of `table`) or FILE:COLUMN.

    A model's name is its values in the columns `key`, joined by commas; by default the first column. Several files are
    joined on it. `unit` is "percent" or "fraction"; None stands for percent where nothing speaks against it.

    Raises UserError that names the file, column and line: what is not there, names that stand twice, cells that are
    no accuracy, fractions in place of percents or the other way, no model with all the accuracies.
    """
    if unit is not None and unit not in UNITS:
        raise UserError(f"--unit: {unit!r} is none of {', '.join(UNITS)}")
    options = ["--id"] * len(ids) + ["--shift"]
    sources = [_place(table, column, option) for column, option in zip([*ids, shift], options, strict=True)]
    _require_different(sources, options)
    tables = {path: _read(path) for path, _ in sources}
    read = [_by_name(tables[path], key, col, option) for (path, col), option in zip(sources, options, strict=True)]
    columns, notes = [values for values, _ in read], [note for _, nameless in read for note in nameless]
    names = [name for name in columns[0] if all(name in values for values in columns)]
    if not names:
        _no_common_model([path for path, _ in sources], columns)
    labels = [column for _, column in sources]
    if len(tables) > 1:  # the files tell the columns apart, whose names are often the same
        labels = [f"{path.name}:{column}" for path, column in sources]
        lengths = {path: len(values) for (path, _), values in zip(sources, columns, strict=True)}
        others = "the other file" if len(tables) == 2 else "every other file"
        for path, length in lengths.items():
            if length > len(names):
                notes.append(f"{_rows(length - len(names))} of {path} skipped: not in {others}")
    values = np.array([[of[name] for name in names] for of in columns])
    kept = ~np.isnan(values).any(axis=0)
    if not kept.any():
        of_all = "both" if len(labels) == 2 else "all of"
        raise UserError(f"none of the {len(names):,} models has an accuracy in {of_all} {_listed(labels, 'and')}")
    if not kept.all():
        notes.append(f"{_rows(int((~kept).sum()))} skipped: no accuracy in {_listed(labels, 'or')}")
    names = [name for name, keep in zip(names, kept, strict=True) if keep]
    wanted = [f"{option} {label}" for option, label in zip(options, labels, strict=True)]
    *id_percents, shifted = _percents(names, dict(zip(wanted, values[:, kept], strict=True)), unit)
    notes = list(dict.fromkeys(notes))
    return Published(tuple(names), np.stack(id_percents, 1), shifted, tuple(labels[:-1]), labels[-1], tuple(notes))


def _require_different(sources: Sequence[tuple[Path, str]], options: Sequence[str]) -> None:
    for i, source in enumerate(sources):
        first = sources.index(source)
        if first < i:
            which = "two --id are" if options[i] == "--id" else f"{options[first]} and {options[i]} are"
            raise UserError(f"{which} the same column, {source[1]!r} of {source[0]}")


def _no_common_model(paths: Sequence[Path], columns: Sequence[Mapping[str, float]]) -> NoReturn:
    some = [f"such as {next(iter(values))!r}" if values else "which names none" for values in columns]
    examples = {path: f"{path} ({words})" for path, words in zip(paths, some, strict=True)}
    both = "both" if len(examples) <= 2 else "all of"
    raise UserError(
        f"no model is in {both} {' and '.join(examples.values())}: name the columns that tell the models apart in "
        f"{both if both == 'both' else 'all'}, such as --key model,img_size"
    )


def _listed(names: Sequence[str], last: str) -> str:
    """ "'a', 'b' and 'c'"."""
    *some, end = [repr(name) for name in names]
    return f"{', '.join(some)} {last} {end}"


def choose_baselines(
    models: Published, baselines: str | None = None, exclude: str | None = None, pivot: str | None = None
) -> tuple[np.ndarray, list[str]]:
    """Return which models are baselines, bool [M], with notes: all, or those that `baselines` chooses.

    Args:
        baselines: A file with one name a line, or a regular expression that is searched for in each name.
        exclude: Likewise, those that are no baselines.
        pivot: The model that the shifted set was filtered against, which must be there.

    Raises:
        UserError: A choice that matches no model, or an unknown pivot; names the option.
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
    if pivot is not None and pivot not in models.names:
        raise UserError(f"--pivot: no model {pivot!r} with all accuracies; {_near(pivot, models.names, 'models')}")
    return chosen, notes


def _choose(names: Sequence[str], wanted: str, option: str) -> tuple[np.ndarray, list[str]]:
    """Which of `names` are `wanted`, bool [M], and notes. Raises UserError that names `option`."""
    if is_file(Path(wanted)):
        lines = {line.strip() for line in _text(Path(wanted), option).splitlines()} - {""}
        absent = sorted(lines - set(names))
        chosen = np.array([name in lines for name in names], dtype=bool)
        if not chosen.any():
            hint = _near(absent[0], names, "models") if absent else "it is empty"
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


def _near(name: str, known: Sequence[str], what: str = "columns") -> str:
    """What a message suggests in place of `name`: the `known` names near it, or the first of them."""
    lower = {k.lower(): k for k in known if k}
    found = [lower[k] for k in difflib.get_close_matches(name.lower(), lower, n=5, cutoff=0.5)]
    found = found or [k for k in lower.values() if name and name.lower() in k.lower()][:5]
    if found:
        return f"near it: {', '.join(found)}"
    more = f" and {len(lower) - 10:,} more" if len(lower) > 10 else ""
    return f"its {what} are {', '.join(list(lower.values())[:10])}{more}"


def listing(names: Sequence[str], what: str) -> str:
    """How many `names` and the first few: "7 models (a, b, c ...)". `what` is their noun in the singular."""
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"{len(names):,} {what}{'' if len(names) == 1 else 's'} ({shown})"


def is_file(path: Path) -> bool:
    """Whether `path` is a file; False for what the system refuses as a path, such as a very long expression."""
    try:
        return path.is_file()
    except OSError:
        return False


def _place(table: Path | None, text: str, option: str) -> tuple[Path, str]:
    """The file and the column that an option's COLUMN or FILE:COLUMN means; either may hold colons itself."""
    if table is not None and (":" not in text or text in _read(table).columns):
        return table, text
    for colon in (i for i, letter in enumerate(text) if letter == ":"):
        if is_file(Path(text[:colon])):
            return Path(text[:colon]), text[colon + 1 :]
    if ":" not in text:
        raise UserError(f"{option} {text}: which file? Give the table first, or {option} FILE:{text}")
    also = f", and {table} has no column {text!r}" if table is not None else ""
    raise UserError(f"{option}: cannot read {text.rpartition(':')[0]}: no such file{also}")


def _read(path: Path) -> _Table:
    # Strict, so that a quote that never closes is an error and does not swallow the rest of the file.
    reader = csv.reader(io.StringIO(_text(path, "the table"), newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        columns = [column.strip() for column in next(reader, [])]
        for row in reader:
            if len(row) > len(columns):
                raise UserError(f"{path}, line {reader.line_num}: {len(row)} cells under {len(columns)} columns")
            if row:
                rows.append((reader.line_num, [cell.strip() for cell in row] + [""] * (len(columns) - len(row))))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV: {error}") from None
    if not rows:
        raise UserError(f"{path}: no rows; a table is CSV with a header and a row a model")
    return _Table(path, columns, rows)


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{what}: cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{what}: cannot read {path}: it is not UTF-8 text ({error.reason})") from error


def _names(table: _Table, key: Sequence[str], column: str) -> list[str]:
    """The name of each row, "" where it has none; raises UserError where one stands twice."""
    places = [table.index(k, "--key") for k in key] or [0]
    names = _joined(table, places)
    repeated = next((name for name, count in Counter(names).items() if name and count > 1), None)
    if repeated is None:
        return names
    others = [i for i in range(table.columns.index(column)) if i not in places]  # what names a model stands first
    telling = next((i for i in others if _are_unique(_joined(table, [*places, i]))), None)
    words = [table.columns[i] for i in places]
    hint = "remove the rows that stand twice"
    if telling is not None:
        hint = f"tell them apart with --key {','.join([*words, table.columns[telling]])}"
    raise UserError(f"{table.path}: {','.join(words)} = {repeated!r} stands in more than one row; {hint}")


def _are_unique(names: Sequence[str]) -> bool:
    named = [*filter(None, names)]
    return 0 < len(named) == len(set(named))


def _joined(table: _Table, places: Sequence[int]) -> list[str]:
    cells = ([row[i] for i in places] for _, row in table.rows)
    return [",".join(parts) if any(parts) else "" for parts in cells]


def _by_name(table: _Table, key: Sequence[str], column: str, option: str) -> tuple[dict[str, float], list[str]]:
    """The numbers of `column` by name, NaN where there is none, and a note where rows have no name."""
    place = table.index(column, option)
    names = _names(table, key, column)
    values = {}
    for name, (line, row) in zip(names, table.rows, strict=True):
        cell = row[place]
        try:
            values[name] = math.nan if cell.lower() in MISSING else float(cell)
        except ValueError:
            raise UserError(f"{table.path}, line {line}: {column} is {cell!r}, which is no number") from None
    values.pop("", None)
    nameless = names.count("")
    return values, [f"{_rows(nameless)} of {table.path} skipped: no name"] if nameless else []


def _percents(names: Sequence[str], columns: Mapping[str, np.ndarray], unit: str | None) -> list[np.ndarray]:
    """The accuracies of `columns`, by the option that named each, as percents."""
    small = [option for option, values in columns.items() if values.max() <= 1]
    for option, values in columns.items():
        top = 1 if unit == "fraction" else 100
        wrong = ~((values >= 0) & (values <= top))
        if not wrong.any():
            continue
        worst = int(wrong.argmax())
        hint = "; for percents say --unit percent" if unit == "fraction" and values.max() <= 100 else ""
        raise UserError(f"{option}: {values[worst]:g} ({names[worst]}) is no accuracy from 0 to {top}{hint}")
    if unit == "fraction":
        return [100 * values for values in columns.values()]
    if len(small) == len(columns):
        raise UserError(f"{' and '.join(columns)}: no accuracy is above 1; if these are fractions, say --unit fraction")
    if small and unit is None:
        raise UserError(
            f"{small[0]}: no accuracy is above 1, while another column has percents; write all in one unit, or say "
            "--unit percent if they truly are below 1 %"
        )
    return list(columns.values())


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
