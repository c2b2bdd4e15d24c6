"""Write files that a user names for output, without replacing others by accident."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from genrobust.core import UserError
from genrobust.store.files import make_folder, refusing, replacing

_STDOUT = "-"


def expand_home(path: str) -> str:
    """Replace a leading ``~/`` by the user's home folder. A shell does not do so in quotes."""
    if path.startswith("~/"):
        return str(Path(path).expanduser())
    return path


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a user names for output. ``-`` is standard output. Links are followed.

    Attributes:
        ending: Required extension, such as ".csv"; "" for any.
        inputs: Files that the output is made from. It must not be one of them.
        overwrite: Replace an existing file.
    """

    path: Path
    ending: str = ""
    inputs: Iterable[Path] = ()
    overwrite: bool = False

    def check(self) -> Path:
        """Return the file that `writing` will write, with links resolved."""
        path = self.path
        if str(path) == _STDOUT:
            return path
        target = Path(os.path.realpath(path))
        with refusing(path):
            is_folder = target.is_dir()
        if is_folder:
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
        """Write the file, which appears whole or not at all. Missing parent folders are made."""
        target = self.check()
        if str(target) == _STDOUT:
            with refusing(target):
                yield sys.stdout.buffer
                sys.stdout.flush()
        else:
            make_folder(target.parent)
            with replacing(target) as file:
                yield file
