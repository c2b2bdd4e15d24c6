"""Image files that a table lists: a CSV file with a row an image."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from genrobust.core import UserError, read_csv
from genrobust.data.file_list import WORKERS, Listing, list_named, some_names
from genrobust.data.reading import FORMATS

PATHS = ("path", "file_name")  # names of the column of paths; the second is that of Hugging Face's metadata.csv
LABEL = "label"


def list_csv(table: Path, labeled: bool = True) -> Listing:
    """List the images whose paths are in a `table`, each under the text of its column `label`.

    Paths are relative to the table's folder. Without `labeled`, labels are not read and all are of the group "". Raises
    UserError that names the line of a path which leads out of that folder, comes twice or is no image.
    """
    rows = read_csv(table, "the table")
    _, columns = next(rows)
    place = next((columns.index(name) for name in PATHS if name in columns), None)
    for wanted, lacks in (("path", place is None), (LABEL, labeled and LABEL not in columns)):
        if lacks:
            raise UserError(f"{table} has no column {wanted!r}: it has {some_names(columns)}; rename one")
    if twice := next((name for name in columns if columns.count(name) > 1), None):
        raise UserError(f"{table} has two columns called {twice!r}: rename one")
    assert place is not None
    lines: dict[str, int] = {}
    cells: list[Sequence[str]] = []
    groups: list[str] = []
    for line, row in rows:
        key = _key(row[place], f"{table}, line {line}")
        if lines.setdefault(key, line) != line:
            raise UserError(f"{table}, line {line}: {key} is in line {lines[key]} already: remove one")
        group = row[columns.index(LABEL)] if labeled else ""
        if labeled and not group:
            raise UserError(f"{table}, line {line}: {key} has no label: fill it in, or remove the line")
        cells.append(row)
        groups.append(group)

    def column(name: str) -> list[str]:
        if name not in columns:
            raise UserError(f"{table} has no column {name!r}: it has {some_names(columns)}; name one of these")
        return [row[columns.index(name)] for row in cells]

    with ThreadPoolExecutor(WORKERS) as pool:
        return list_named(table, list(lines), groups, pool, column)


def _key(text: str, where: str) -> str:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts:
        raise UserError(
            f"{where}: {text!a} is no path below the table's folder: write paths relative to it, and move the table "
            "above the images, or link them there"
        )
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{where}: {text!a} is no image that is read: {', '.join(FORMATS)}")
    return path.as_posix()
