"""List the image files that a CSV table names, one row per image."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from genrobust.core import NoColumn, UserError, progress_bar, read_csv
from genrobust.data.image_files import FORMATS, UNREAD
from genrobust.data.listing import WORKERS, ImageFile, Listing, list_images, some_names, stamp

PATH_COLUMNS = ("path", "file_name")  # the second is the name in Hugging Face's metadata.csv
LABEL_COLUMN, SPLIT_COLUMN = "label", "split"
# Missing labels as pandas writes them. "none" and "na" may be classes.
NO_LABEL = {"", "nan", "<na>"}
FILES_PER_TASK = 1000  # files that one thread looks up at once


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Names of the columns of a CSV table. Without `path`, the first of `PATH_COLUMNS` that the table has is used."""

    path: str | None = None
    label: str = LABEL_COLUMN


@dataclass(frozen=True, slots=True)
class _Table:
    """A CSV table: its column names and its rows that are not blank, each with its line number."""

    path: Path
    columns: list[str]
    rows: list[tuple[int, list[str]]]

    def values(self, column: str) -> list[str]:
        place = self.columns.index(column)
        return [row[place] for _, row in self.rows]


def list_csv(path: Path, labeled: bool = True, columns: TableColumns = TableColumns()) -> Listing:
    """List the images whose paths are in the CSV table at `path`; a group is the text of the label column.

    Image paths are relative to the folder of the table. Without labels, all images are in the group "".
    """
    table = _read_table(path)
    path_column = _path_column(table, columns.path)
    if labeled and columns.label not in table.columns:
        _refuse_column(table, columns.label)
    _require_one_split(table)
    paths = table.values(path_column)
    labels = table.values(columns.label) if labeled else [""] * len(paths)
    line_of_key: dict[str, int] = {}
    for (line, _), image_path, label in zip(table.rows, paths, labels, strict=True):
        key = _image_key(image_path, f"{path}, line {line}")
        first_line = line_of_key.setdefault(key, line)
        if first_line != line:
            raise UserError(f"{path}, line {line}: {key} is in line {first_line} already: remove one")
        if labeled and label.lower() in NO_LABEL:
            raise UserError(f"{path}, line {line}: {key} has no label: fill it in, or remove the line")

    def column(name: str) -> list[str]:
        # Read the table again: a table of a million rows is not kept in memory.
        table = _read_table(path)
        if name not in table.columns:
            raise NoColumn(f"{path} has no column {name!r}: it has {some_names(table.columns)}; name one of these")
        return table.values(name)

    return list_images(path.parent, _find_files(path, line_of_key, labels), path, column)


def _read_table(path: Path) -> _Table:
    (_, columns), *rows = read_csv(path, "the table")
    for name in columns:
        if name and columns.count(name) > 1:
            raise UserError(f"{path} has two columns called {name!r}: rename one")
    return _Table(path, columns, [(line, row) for line, row in rows if any(row)])


def _path_column(table: _Table, wanted: str | None) -> str:
    for name in PATH_COLUMNS if wanted is None else (wanted,):
        if name in table.columns:
            return name
    _refuse_column(table, wanted or PATH_COLUMNS[0])


def _refuse_column(table: _Table, name: str) -> NoReturn:
    known = some_names(table.columns)
    raise UserError(
        f"{table.path} has no column {name!r}: it has {known}; rename one, or name yours with path_column and "
        "label_column of kind: csv"
    )


def _require_one_split(table: _Table) -> None:
    """Raise UserError if the table holds several splits: reading them as one set would be a leak."""
    if SPLIT_COLUMN not in table.columns:
        return
    splits = sorted(set(table.values(SPLIT_COLUMN)))
    if len(splits) > 1:
        raise UserError(f"{table.path} holds several splits ({some_names(splits)}): write a table for each")


def _find_files(table: Path, line_of_key: dict[str, int], labels: Sequence[str]) -> list[ImageFile]:
    """Look up the files of all rows. Raise UserError for the first that is missing."""
    rows = list(zip(line_of_key.items(), labels, strict=True))

    def look_up(start: int) -> list[ImageFile]:
        files = []
        for (key, line), label in rows[start : start + FILES_PER_TASK]:
            try:
                files.append(ImageFile(label, key, stamp(table.parent / key)))
            except UserError as error:
                raise UserError(f"{table}, line {line}: {error}") from None
        return files

    found: list[ImageFile] = []
    starts = range(0, len(rows), FILES_PER_TASK)
    with ThreadPoolExecutor(WORKERS) as pool, progress_bar(f"listing {table.name}", len(rows), "files") as bar:
        for files in pool.map(look_up, starts):
            found += files
            bar.advance(len(files))
    return found


def _image_key(text: str, where: str) -> str:
    path = PurePosixPath(text)
    if not text or "\\" in text or path.is_absolute() or ".." in path.parts:
        raise UserError(f"{where}: {text!a} is no relative path, with /, to a file below the table's folder")
    extension = path.suffix.lower()
    if extension not in FORMATS:
        then = ": convert it" if extension in UNREAD else ""
        raise UserError(f"{where}: {text!a} is no image that is read{then}; those are {', '.join(FORMATS)}")
    return path.as_posix()
