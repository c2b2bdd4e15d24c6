"""Image files that a table lists: a CSV file with a row an image."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from genrobust.core import NoColumn, UserError, progress_bar, read_csv
from genrobust.data.file_list import WORKERS, ImageFile, Listing, list_images, some_names, stamp
from genrobust.data.reading import FORMATS, UNREAD

PATHS = ("path", "file_name")  # names of the column of paths; the second is that of Hugging Face's metadata.csv
LABEL, SPLIT = "label", "split"
NO_LABEL = {"", "nan", "<na>"}  # as pandas writes it; "none" and "na" may be classes
TOGETHER = 1000  # files that a thread asks for in one go


def list_csv(table: Path, labeled: bool = True) -> Listing:
    """List the images whose paths are in a `table`, each under the text of its column `label`.

    Paths are relative to the table's folder. Without `labeled`, labels are not read and all are of the group "".

    Raises:
        UserError: There is no such column, or one called `split` with several values, or a line that it names: a path
            that leads out of the folder, comes twice, or is no image, or no label.
    """
    columns, rows = _read(table)
    path = next((name for name in PATHS if name in columns), None)
    if path is None or (labeled and LABEL not in columns):
        wanted = "path" if path is None else LABEL
        raise UserError(f"{table} has no column {wanted!r}: it has {some_names(columns)}; rename one")
    splits = sorted({row[columns.index(SPLIT)] for _, row in rows}) if SPLIT in columns else []
    if len(splits) > 1:  # read as one set, they would be a leak
        raise UserError(
            f"{table} holds several splits ({some_names(splits)}): write a table for each, without {SPLIT!r}"
        )
    lines: dict[str, int] = {}
    groups: list[str] = []
    for line, row in rows:
        key = _image_key(row[columns.index(path)], f"{table}, line {line}")
        if lines.setdefault(key, line) != line:
            raise UserError(f"{table}, line {line}: {key} is in line {lines[key]} already: remove one")
        groups.append(row[columns.index(LABEL)] if labeled else "")
        if labeled and groups[-1].lower() in NO_LABEL:
            raise UserError(f"{table}, line {line}: {key} has no label: fill it in, or remove the line")

    def column(name: str) -> list[str]:
        columns, rows = _read(table)  # read again: a table of a million rows is not kept
        if name not in columns:
            raise NoColumn(f"{table} has no column {name!r}: it has {some_names(columns)}; name one of these")
        return [row[columns.index(name)] for _, row in rows]

    return list_images(table.parent, _files(table, lines, groups), table, column)


def _read(table: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns of a table, and its rows that are not blank, each with its line."""
    (_, columns), *rows = read_csv(table, "the table")
    if twice := next((name for name in columns if name and columns.count(name) > 1), None):
        raise UserError(f"{table} has two columns called {twice!r}: rename one")
    return columns, [(line, row) for line, row in rows if any(row)]


def _files(table: Path, lines: dict[str, int], groups: Sequence[str]) -> list[ImageFile]:
    """The files of all lines; raises UserError for the first that is missing."""
    rows = list(zip(lines.items(), groups, strict=True))

    def look(row: tuple[tuple[str, int], str]) -> ImageFile:
        (key, line), group = row
        try:
            return ImageFile(group, key, stamp(table.parent / key))
        except UserError as error:
            raise UserError(f"{table}, line {line}: {error}") from None

    files: list[ImageFile] = []
    starts = range(0, len(rows), TOGETHER)
    with ThreadPoolExecutor(WORKERS) as pool, progress_bar(f"listing {table.name}", len(rows), "files") as bar:
        for part in pool.map(lambda start: [look(row) for row in rows[start : start + TOGETHER]], starts):
            files += part
            bar.advance(len(part))
    return files


def _image_key(text: str, where: str) -> str:
    path = PurePosixPath(text)
    if not text or "\\" in text or path.is_absolute() or ".." in path.parts:
        raise UserError(
            f"{where}: {text!a} is no path below the table's folder: write paths relative to it and with /, and move "
            "the table above the images, or link them there"
        )
    if path.suffix.lower() not in FORMATS:
        then = ": convert it" if path.suffix.lower() in UNREAD else ""
        raise UserError(f"{where}: {text!a} is no image that is read{then}; those are {', '.join(FORMATS)}")
    return path.as_posix()
