"""A folder that appears complete or not at all, beside the one that it replaces until then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genrobust.core import UserError, lock, make_folder, refusal
from genrobust.release.parts import CROISSANT


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
    refuse_others(out, overwrite)
    make_folder(out.parent)
    part, old = (out.with_name(f".{out.name}.{kind}") for kind in ("part", "old"))
    with lock(out.parent):
        try:
            if old.exists() and not out.exists():  # killed between the two renames below
                old.rename(out)
            refuse_others(out, overwrite)
            _remove(old)
            _remove(part)
            part.mkdir()
            yield part
            if hasattr(os, "sync"):  # one call for a million files; a rename may else reach the disk before them
                os.sync()
            if out.exists():
                out.rename(old)
            part.rename(out)
            _remove(old)
        except OSError as error:
            raise refusal(out.parent, error) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)


def refuse_others(out: Path, overwrite: bool) -> None:
    """Raise UserError where `out` is something that an export may not replace."""
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise UserError(f"{out} is a file: name another folder with --out")
    if not any(out.iterdir()):
        return
    if not (out / CROISSANT).exists():
        raise UserError(f"{out} holds files that no export wrote: name another folder with --out")
    if not overwrite:
        raise UserError(f"{out} holds an export: --overwrite replaces it, or name another folder with --out")


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
