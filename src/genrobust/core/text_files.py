"""Text and CSV files in UTF-8, with or without a byte order mark."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from genrobust.core.errors import UserError, reading

MISSING = {"", "-", "\u2013", "\u2014", "nan", "na", "n/a", "#n/a", "<na>", "none", "null"}  # in lower case
_WHOLE = re.compile(r"([+-]?\d+)\.0*", re.ASCII)
# Control characters, which begin a terminal's commands; ends of lines; characters that reverse the order of those after
# them; and halves of surrogate pairs, which stand for bytes that are no UTF-8, and which no output takes.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def read_lines(path: Path, option: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers, without blanks around them and without empty ones.

    Args:
        option: The option or key that named the file, for messages.

    Raises:
        UserError: The file cannot be read, or is not UTF-8.
    """
    lines = enumerate(_read(path, option).splitlines(), start=1)
    return ((number, text) for number, line in lines if (text := line.strip()))


def read_csv(path: Path, option: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file, the header first, each with the line on which it ends.

    Cells have no blanks around them. Rows without a cell are left out, and short ones are as long as the header. Where
    that has no comma, semicolons or tabs separate cells, as spreadsheets write them in many countries.

    Args:
        option: As in `read_lines`, which raises.

    Raises:
        UserError: Also for an empty file, a row longer than the header, and a quote that is never closed.
    """
    text = _read(path, option)
    first = text.partition("\n")[0]
    separator = next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    columns: list[str] = []
    try:
        for cells in ([cell.strip() for cell in row] for row in reader if row):
            columns = columns or cells
            if len(cells) > len(columns):
                raise UserError(f"{path}, line {reader.line_num}: {len(cells)} cells under {len(columns)} columns")
            yield reader.line_num, cells + [""] * (len(columns) - len(cells))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV: {error}") from None
    if not columns:
        raise UserError(f"{path}: no rows; a table is CSV with a header and rows")


def is_missing(cell: str) -> bool:
    """Return whether a cell says that there is no value, as people, spreadsheets, pandas and JSON write it."""
    return cell.strip().lower() in MISSING


def plain_number(text: str) -> str:
    """Return 2.0 as 2, and any other text as it is: pandas saves 2 as 2.0 in a column with an empty cell."""
    return match[1] if (match := _WHOLE.fullmatch(text)) else text


def csv_line(cells: Iterable[object]) -> str:
    """Return a row of a CSV file; unprintable characters are escaped, so that a row is a line."""
    text = io.StringIO()
    row = [escape_unprintable(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def escape_unprintable(text: str, kept: str = "") -> str:
    """Return `text` with a backslash and a code for each character that commands a terminal or reorders others.

    Args:
        kept: The characters that stay.
    """
    return _UNPRINTABLE.sub(lambda match: match[0] if match[0] in kept else ascii(match[0])[1:-1], text)


def _read(path: Path, option: str) -> str:
    try:
        with reading(f"{path} ({option})"):
            return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"cannot read {path} ({option}): it is no text in UTF-8: save it in that encoding") from None
