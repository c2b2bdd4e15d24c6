"""Text and CSV files in UTF-8, with or without a byte order mark."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from genrobust.core.errors import UserError, reading

# Cells without a value, in lower case.
MISSING = {"", "-", "\u2013", "\u2014", "nan", "na", "n/a", "#n/a", "<na>", "none", "null"}
_WHOLE = re.compile(r"([+-]?\d+)\.0*", re.ASCII)
# Control characters, which begin a terminal's commands; line separators; characters that reverse the text after them;
# and halves of surrogate pairs, which stand for invalid UTF-8 and cannot be printed.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def read_lines(path: Path, option: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers, stripped, without empty lines."""
    for number, line in enumerate(_read(path, option).splitlines(), start=1):
        text = line.strip()
        if text:
            yield number, text


def read_csv(path: Path, option: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file, the header first, each with the line on which it ends.

    Cells are stripped. Rows without a cell are skipped, and short rows are filled up to the length of the header. If
    the header has no comma, semicolons or tabs separate cells, as spreadsheets write them in many countries.
    """
    text = _read(path, option)
    first = text.partition("\n")[0]
    separator = next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    columns: list[str] = []
    try:
        for row in reader:
            if not row:
                continue
            cells = [cell.strip() for cell in row]
            columns = columns or cells
            if len(cells) > len(columns):
                raise UserError(f"{path}, line {reader.line_num}: {len(cells)} cells under {len(columns)} columns")
            yield reader.line_num, cells + [""] * (len(columns) - len(cells))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV: {error}") from None
    if not columns:
        raise UserError(f"{path}: no rows; a table is CSV with a header and rows")


def is_missing(cell: str) -> bool:
    """Return whether a cell has no value, in the notation of people, spreadsheets, pandas or JSON."""
    return cell.strip().lower() in MISSING


def plain_number(text: str) -> str:
    """Return 2 for 2.0, and any other text unchanged. pandas saves 2 as 2.0 in a column with an empty cell."""
    match = _WHOLE.fullmatch(text)
    return match[1] if match else text


def csv_line(cells: Iterable[object]) -> str:
    """Return a row of a CSV file. Unprintable characters are escaped, so a row is always one line."""
    text = io.StringIO()
    row = [escape_unprintable(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def escape_unprintable(text: str, kept: str = "") -> str:
    """Replace each character that commands a terminal or reorders text by its code after a backslash."""

    def escape(match: re.Match[str]) -> str:
        character = match[0]
        return character if character in kept else ascii(character)[1:-1]

    return _UNPRINTABLE.sub(escape, text)


def _read(path: Path, option: str) -> str:
    try:
        with reading(f"{path} ({option})"):
            return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"cannot read {path} ({option}): it is no text in UTF-8: save it in that encoding") from None
