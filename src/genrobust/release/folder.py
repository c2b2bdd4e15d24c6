"""A folder that appears complete or not at all, beside the one that it replaces until then.

It holds a list of its files with their hashes: only files that are on it, and are as they were written, are removed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from genrobust.core import (
    FILE_LIST,
    GenrobustError,
    UserError,
    file_list,
    foreign_files,
    hash_file,
    lock,
    make_folder,
    read_file_list,
    refusal,
    replacing,
)


@contextmanager
def new_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """Yield an empty folder that is renamed to `out` when the block ends well, and removed when it does not.

    With `overwrite` an export in `out` is removed once the new one is on the disk. A killed process leaves hidden
    folders beside `out`, which the next one removes: half an export never has its name.

    Raises:
        UserError: `out` holds other files, or another process writes beside it.
        GenrobustError: The system refuses.
    """
    out = out.resolve()
    make_folder(out.parent)
    with lock(out.parent):
        part, old = (out.with_name(f".{out.name}.{secrets.token_hex(4)}.{kind}") for kind in ("part", "old"))
        try:
            _remove_leftovers(out)
            refuse_others(out, overwrite, compare=False)  # `_remove_own` compares
            part.mkdir()
            (part / FILE_LIST).write_bytes(file_list({}))
            yield part
            names = sorted(path.relative_to(part).as_posix() for path in part.rglob("*") if path.is_file())
            files = {name: [hash_file(part / name)] for name in names if name != FILE_LIST}
            with replacing(part / FILE_LIST) as file:
                file.write(file_list(files))
            if hasattr(os, "sync"):  # one call for a million files; a rename may else reach the disk before them
                os.sync()
            _swap(part, out, old)
            kept = _remove_own(old) if old.exists() else ""
        except OSError as error:
            raise refusal(out.parent, error) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        if kept:
            raise GenrobustError(f"{out} is complete, but the export before it held {kept}: that is kept in {old}")


def refuse_others(out: Path, overwrite: bool, compare: bool = True) -> None:
    """Raise UserError where `out` is something that an export may not replace; `compare` reads its files."""
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise UserError(f"{out} is a file: name another folder with --out")
    if not any(out.iterdir()):
        return
    if not os.path.lexists(out / FILE_LIST):
        raise UserError(f"{out} holds files that no export wrote: name another folder with --out")
    files = read_file_list(out)
    if not overwrite:
        raise UserError(f"{out} holds an export: --overwrite replaces it, or name another folder with --out")
    if other := next(foreign_files(out, files, compare), None):
        raise UserError(f"{out} holds {other}: move that away, or name another folder with --out")


def _swap(part: Path, out: Path, old: Path) -> None:
    """Rename `part` to `out`, and what is there to `old`."""
    replaces = out.exists()
    if replaces:
        out.rename(old)
    try:
        part.rename(out)
    except OSError:
        if replaces:
            old.rename(out)
        raise


def _remove_leftovers(out: Path) -> None:
    """Put an export back that was being replaced when a process was killed, and remove what that process left."""
    name = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{8}}\.(part|old)", re.DOTALL)
    for path in sorted(out.parent.iterdir()):
        if not (found := name.fullmatch(path.name)) or path.is_symlink() or not (path / FILE_LIST).is_file():
            continue
        with suppress(UserError):  # a list of something else
            if found[1] == "part":
                if not read_file_list(path):  # of an export that was not complete
                    shutil.rmtree(path)
                else:
                    _remove_own(path)
            elif os.path.lexists(out):
                _remove_own(path)
            elif read_file_list(path):
                path.rename(out)


def _remove_own(folder: Path) -> str:
    """Remove the export in `folder`, unless it holds anything else; returns the first such thing in words, or ""."""
    files = read_file_list(folder)
    if other := next(foreign_files(folder, files), ""):
        return other
    for name in files:
        (folder / name).unlink(missing_ok=True)
    (folder / FILE_LIST).unlink(missing_ok=True)  # a folder that was empty has none
    for root, _, _ in os.walk(folder, topdown=False):
        Path(root).rmdir()
    return ""
