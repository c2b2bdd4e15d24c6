"""Image files that a table lists: a CSV file with a row an image."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from genrobust.core import UserError, progress_bar, read_csv
from genrobust.data.file_list import WORKERS, ImageFile, Listing, image_file, list_images, some_names
from genrobust.data.reading import FORMATS, UNREAD

PATHS = ("path", "file_name")  # names of the column of paths; the second is that of Hugging Face's metadata.csv
LABEL = "label"
TOGETHER = 1000  # files that a thread asks for in one go


def list_csv(table: Path, labeled: bool = True) -> Listing:
    """List the images whose paths are in a `table`, each under the text of its column `label`.

    Paths are relative to the table's folder. Without `labeled`, labels are not read and all are of the group "". Links
    are followed; a file that several rows of one label lead to is listed once.

    Raises:
        UserError: There is no such column, or a line that it names: a path that leads out of the folder, comes twice,
            or is no image, no label, or a file of two labels.
    """
    place, label = _columns(table, labeled)
    lines: dict[str, int] = {}
    groups: list[str] = []
    for line, row in _rows(table):
        key = _key(row[place], f"{table}, line {line}")
        if lines.setdefault(key, line) != line:
            raise UserError(f"{table}, line {line}: {key} is in line {lines[key]} already: remove one")
        group = "" if label is None else row[label]
        if label is not None and not group:
            raise UserError(f"{table}, line {line}: {key} has no label: fill it in, or remove the line")
        groups.append(group)
    keys = list(lines)
    files = _files(table, lines, groups)

    def column(name: str) -> list[str]:
        columns = next(read_csv(table, "the table"))[1]
        if name not in columns:
            raise UserError(f"{table} has no column {name!r}: it has {some_names(columns)}; name one of these")
        at = columns.index(name)
        found = dict(zip(keys, (row[at] for _, row in _rows(table)), strict=True))
        return [found[key] for key in listing.keys]

    listing = list_images(table.parent, files, table, column)
    return listing


def _columns(table: Path, labeled: bool) -> tuple[int, int | None]:
    """Where the paths are, and the labels."""
    columns = next(read_csv(table, "the table"))[1]
    if len(columns) == 1 and (";" in columns[0] or "\t" in columns[0]):
        raise UserError(f"{table} separates its columns by {';' if ';' in columns[0] else 'tabs'}: save it with commas")
    if twice := next((name for name in columns if name and columns.count(name) > 1), None):
        raise UserError(f"{table} has two columns called {twice!r}: rename one")
    place = next((columns.index(name) for name in PATHS if name in columns), None)
    wanted = "path" if place is None else LABEL
    if place is None or (labeled and LABEL not in columns):
        raise UserError(f"{table} has no column {wanted!r}: it has {some_names(columns)}; rename one")
    return place, columns.index(LABEL) if labeled else None


def _rows(table: Path) -> list[tuple[int, list[str]]]:
    """The rows below the header that are not blank, with their lines."""
    rows = read_csv(table, "the table")
    next(rows)
    return [(line, row) for line, row in rows if any(row)]


def _files(table: Path, lines: dict[str, int], groups: Sequence[str]) -> list[ImageFile]:
    """The files of all lines; raises UserError for the first that is missing, and counts the others."""
    keys, folder = list(lines), table.parent

    def look(start: int) -> list[ImageFile | tuple[int, UserError]]:
        found: list[ImageFile | tuple[int, UserError]] = []
        for key, group in zip(keys[start : start + TOGETHER], groups[start : start + TOGETHER], strict=True):
            try:
                found.append(image_file(folder / key, key, group))
            except UserError as error:
                found.append((lines[key], error))
        return found

    files: list[ImageFile] = []
    missing: list[tuple[int, UserError]] = []
    with ThreadPoolExecutor(WORKERS) as pool, progress_bar(f"listing {table.name}", len(keys), "files") as bar:
        for part in pool.map(look, range(0, len(keys), TOGETHER)):
            files += [one for one in part if isinstance(one, ImageFile)]
            missing += [one for one in part if not isinstance(one, ImageFile)]
            bar.advance(len(part))
    if missing:
        line, error = missing[0]
        others = f" (and {len(missing) - 1:,} other lines)" if missing[1:] else ""
        raise UserError(f"{table}, line {line}{others}: {error}") from error
    return files


def _key(text: str, where: str) -> str:
    path = PurePosixPath(text)
    if "\\" in text:
        raise UserError(f"{where}: {text!a}: write paths with /")
    if not text or path.is_absolute() or ".." in path.parts:
        raise UserError(
            f"{where}: {text!a} is no path below the table's folder: write paths relative to it, and move the table "
            "above the images, or link them there"
        )
    if path.suffix.lower() not in FORMATS:
        then = ": convert it" if path.suffix.lower() in UNREAD else ""
        raise UserError(f"{where}: {text!a} is no image that is read{then}; those are {', '.join(FORMATS)}")
    return path.as_posix()
