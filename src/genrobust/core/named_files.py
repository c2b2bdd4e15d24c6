"""The files that a user names for output: what they may replace, and how they are written."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from genrobust.core.errors import UserError
from genrobust.core.files import make_folder, refusing, replacing

_STREAMS = {
    "-": "stdout",
    "/dev/stdout": "stdout",
    "/dev/fd/1": "stdout",
    "/dev/stderr": "stderr",
    "/dev/fd/2": "stderr",
}


def expand_home(path: str) -> str:
    """Return `path` with the user's home folder in place of a ``~/`` in front, which a shell leaves alone in quotes."""
    return str(Path(path).expanduser()) if path.startswith("~/") else path


@contextmanager
def writing(path: Path, ending: str = "", inputs: Iterable[Path] = (), overwrite: bool = False) -> Iterator[BinaryIO]:
    """Write the file that a user names, which may be anything: ``-`` and devices are written to, links are followed.

    A regular or a new file appears whole or not at all, as by `replacing`; missing folders on the way are made.

    Args:
        ending: How the name of a file of this kind ends, such as ".csv"; "" for any.
        inputs: The files that the output is made of, which it must not be.
        overwrite: Replaces an existing file.

    Raises:
        UserError: `path` is refused by `check_output`, or cannot be written to.
        DiskFull, GenrobustError: There is no room; the system refuses otherwise.
    """
    target = check_output(path, ending, inputs, overwrite)
    if str(path) in _STREAMS:  # another file behind it, as in `> out.txt`, must not be renamed away
        stream = getattr(sys, _STREAMS[str(path)])
        stream.flush()
        with refusing(path):
            yield stream.buffer
            stream.flush()
    elif _may_replace(target):
        make_folder(target.parent)
        with replacing(target) as file:
            yield file
    else:
        with refusing(path), target.open("wb") as file:
            yield file


def check_output(path: Path, ending: str = "", inputs: Iterable[Path] = (), overwrite: bool = False) -> Path:
    """Return the file that `writing` will write for `path`: where its links lead.

    Raises:
        UserError: It has another `ending`, is one of `inputs`, exists and is not to `overwrite`, or the system refuses
            to look.
    """
    if str(path) in _STREAMS:
        return path
    with refusing(path):
        target = Path(os.path.realpath(path))
        may_replace = _may_replace(target)
    if os.path.isdir(target):  # noqa: PTH112 - it takes a name that is too long
        raise UserError(f"{path} is a folder: name a file in it")
    if may_replace and any(_is_same(other, target) for other in inputs):
        raise UserError(f"{path} is an input of this command: name another file for its output")
    if may_replace and not target.name.lower().endswith(ending):  # a device may be called anything
        raise UserError(f"{path}: this output is {ending[1:].upper()}: name a file that ends in {ending}")
    if may_replace and not overwrite and os.path.lexists(target):
        raise UserError(f"{path} exists: add --overwrite to replace it, or name another file")
    return target


def _may_replace(target: Path) -> bool:
    """Whether `target` is a regular file, or nothing yet: a device and a folder are not replaced."""
    return not os.path.lexists(target) or stat.S_ISREG(target.stat().st_mode)


def _is_same(path: Path, other: Path) -> bool:
    with suppress(OSError, ValueError):  # there is no such file
        return path.samefile(other)
    return False
