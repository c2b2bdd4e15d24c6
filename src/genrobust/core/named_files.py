"""The files that a user names for output: what they may replace, and how they are written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from genrobust.core.errors import UserError
from genrobust.core.files import make_folder, refusing, replacing

_STREAMS = {"-": "stdout", "/dev/stdout": "stdout", "/dev/stderr": "stderr"}


def expand_home(path: str) -> str:
    """Return `path` with the user's home folder in place of a ``~/`` in front, which a shell leaves alone in quotes."""
    return str(Path(path).expanduser()) if path.startswith("~/") else path


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a user names for output, which may be anything: ``-`` and devices are written to, links are followed.

    Attributes:
        ending: How the name of a file of this kind ends, such as ".csv"; "" for any. A device may be called anything.
        inputs: The files that the output is made of, which it must not be.
        overwrite: Replaces an existing file.
    """

    path: Path
    ending: str = ""
    inputs: Iterable[Path] = ()
    overwrite: bool = False

    def check(self) -> Path:
        """Return the file that `writing` will write: where links lead.

        Raises:
            UserError: It has another `ending`, is one of `inputs`, is a folder, exists and is not to `overwrite`, or
                the system refuses to look.
        """
        path = self.path
        with refusing(path):
            if str(path) in _STREAMS or _is_device(path):
                return path
            target = Path(os.path.realpath(path))
        if target.is_dir():
            raise UserError(f"{path} is a folder: name a file in it")
        if str(target) in map(os.path.realpath, self.inputs):
            raise UserError(f"{path} is an input of this command: name another file for its output")
        if not target.name.lower().endswith(self.ending):
            what = self.ending[1:].upper()
            raise UserError(f"{path}: this output is {what}: name a file that ends in {self.ending}")
        if os.path.lexists(target) and not self.overwrite:
            raise UserError(f"{path} exists: add --overwrite to replace it, or name another file")
        return target

    @contextmanager
    def writing(self) -> Iterator[BinaryIO]:
        """Write the file. A regular or a new one appears whole or not at all; missing folders on the way are made.

        Raises:
            UserError: As for `check`.
            DiskFull, GenrobustError: The disk is full; the system refuses otherwise.
        """
        path, target = self.path, self.check()
        if str(path) in _STREAMS:  # a file behind it, as in `> out.txt`, must not be renamed away
            stream = getattr(sys, _STREAMS[str(path)])
            with refusing(path):
                yield stream.buffer
                stream.flush()
        elif _is_device(path):
            with refusing(path), path.open("wb") as file:
                yield file
        else:
            make_folder(target.parent)
            with replacing(target) as file:
                yield file


def _is_device(path: Path) -> bool:
    """Whether `path` is there, and neither a file nor a folder: such as a pipe or the terminal."""
    return path.exists() and not (path.is_file() or path.is_dir())
