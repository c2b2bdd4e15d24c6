"""Text and CSV files from anywhere, read as UTF-8 a line at a time; and the lines of the CSV files that are written."""

from __future__ import annotations

import csv
import io
import re
import stat
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from genrobust.core.errors import UserError

LARGEST = 2**30  # bytes: twenty times a table of a million models with ten columns
SHELLS = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
MISSING = {"", "-", "\u2013", "\u2014", "nan", "na", "n/a", "#n/a", "<na>", "none", "null"}  # in lower case
_STRANGE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]"
)  # control characters but tabs and ends of lines
_WHOLE = re.compile(r"([+-]?\d+)\.0*", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# Begins one, also as a full-width letter; in much of Europe, spreadsheets split lines at semicolons.
_FORMULA = re.compile(r"(^|;)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
# Control characters, which begin a terminal's commands; ends of lines; characters that reverse the order of those after
# them; and halves of surrogate pairs, which stand for bytes that are no UTF-8, and which no output takes.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def read_lines(path: Path, option: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers, without blanks around them and without empty ones.

    Args:
        option: The option or key that named the file, for messages.

    Raises:
        UserError: `path` is no regular file, larger than 1 GiB or cannot be read, or a line is no UTF-8 or holds a
            control character.
    """
    return (
        (number, text) for number, line in enumerate(_checked_lines(path, option), start=1) if (text := line.strip())
    )


def read_csv(path: Path, option: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file, the header first, each with the line on which it ends.

    Cells have no blanks around them. Rows without a cell are left out, and short ones are as long as the header. Where
    that has no comma, semicolons or tabs separate cells, as spreadsheets write them in many countries.

    Args:
        option: As in `read_lines`, which raises.

    Raises:
        UserError: Also for an empty file, a row longer than the header, and a quote that is never closed.
    """
    lines = _checked_lines(path, option)
    first = next(lines, "")
    separator = next((mark for mark in ",;\t" if mark in first), ",")
    # Strict: a quote that is never closed would swallow the rest of the file. After a space, a quote is one as well.
    reader = csv.reader(chain([first], lines), delimiter=separator, strict=True, skipinitialspace=True)
    columns: list[str] | None = None
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
    if columns is None:
        raise UserError(f"{path}: no rows; a table is CSV with a header and rows")


def is_missing(cell: str) -> bool:
    """Return whether a cell says that there is no value, as people, spreadsheets, pandas and JSON write it."""
    return cell.strip().lower() in MISSING


def plain_number(text: str) -> str:
    """Return 2.0 as 2, and any other text as it is: pandas saves 2 as 2.0 in a column with an empty cell."""
    return match[1] if (match := _WHOLE.fullmatch(text)) else text


def csv_line(cells: Iterable[object]) -> str:
    """Return a row of a CSV file.

    A text that a spreadsheet would run as a formula, since it or a part of it after a semicolon begins with
    ``= + - @``, gets an apostrophe there (OWASP, CSV injection); numbers stay as they are. Unprintable characters are
    escaped, so that a row is a line.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([_escaped(cell) for cell in cells])  # which quotes both in cells
    return text.getvalue().removesuffix("\r\n") + "\n"


def escape_unprintable(text: str, kept: str = "") -> str:
    """Return `text` with a backslash and a code for each character that commands a terminal or reorders others.

    Args:
        kept: The characters that stay.
    """
    return _UNPRINTABLE.sub(lambda match: match[0] if match[0] in kept else ascii(match[0])[1:-1], text)


def _escaped(cell: object) -> object:
    if not isinstance(cell, str) or _NUMBER.fullmatch(cell):
        return cell
    return _FORMULA.sub(r"\1'", escape_unprintable(cell))


def _checked_lines(path: Path, option: str) -> Iterator[str]:
    """The lines of a file, with their ends, decoded and checked."""
    try:
        if problem := _why_unreadable(path):
            raise UserError(f"{option}: cannot read {path}: {problem}")
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(file, start=1):
                if match := _STRANGE.search(line):
                    raise UserError(
                        f"{option}: cannot read {path}: {_describe_strange(number, match)}; save it as UTF-8 text"
                    )
                yield line
    except OSError as error:
        raise UserError(f"{option}: cannot read {path}: {error.strerror or error}") from error


def _describe_strange(number: int, match: re.Match[str]) -> str:
    """Describe the character that is no text, and name its line."""
    code = ord(match[0])
    if code > 0xFF:  # a byte that was escaped
        return f"it is not UTF-8 text (line {number})"
    return f"line {number} holds the control character U+{code:04X} at place {match.start() + 1}"


def _why_unreadable(path: Path) -> str:
    """Return why `path` cannot be read, or "". A named pipe may block for ever, but for the shell's: <(command)."""
    status = path.stat()
    if stat.S_ISFIFO(status.st_mode) and str(path).startswith(SHELLS):
        return ""
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    return f"it has more than {LARGEST:,} bytes" if status.st_size > LARGEST else ""
