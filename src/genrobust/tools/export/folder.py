"""A folder that appears complete or not at all, beside the one that it replaces until then.

It is an artifact, whose manifest lists its files: only a folder that holds no others is replaced.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genrobust.core import Artifact, Manifest, UserError, foreign_files, lock, made_by, make_folder, refusal

EXPORT = "export"  # the kind of artifact


@contextmanager
def new_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """Yield an empty folder that is renamed to `out` when the block ends well, and removed when it does not.

    With `overwrite` an export in `out` is removed once the new one is on the disk. What a killed process leaves beside
    `out` is hidden, and the next one removes it: half an export never has its name.

    Raises:
        UserError: `out` holds other files, or another process writes beside it.
        GenrobustError: The system refuses.
    """
    out = out.resolve()
    new, old = (out.with_name(f".{out.name}.genrobust-{kind}") for kind in ("new", "old"))
    make_folder(out.parent)
    with lock(out.parent):
        try:
            if old.exists() and not out.exists():  # a process was killed between the two renames
                old.rename(out)
            for leftover in (new, old):
                shutil.rmtree(leftover, ignore_errors=True)
            refuse_others(out, overwrite)
            new.mkdir()
            yield new
            Artifact(new).publish(Manifest(EXPORT, made_by=made_by(EXPORT)))
            if hasattr(os, "sync"):  # one call for a million files; a rename may else reach the disk before them
                os.sync()
            refuse_others(out, overwrite)  # again: writing may have taken hours
            if out.exists():
                out.rename(old)
            new.rename(out)
            shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise refusal(out.parent, error) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)


def refuse_others(out: Path, overwrite: bool) -> None:
    """Raise UserError where `out` is something that an export may not replace."""
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise UserError(f"{out} is a file: name another folder with --out")
    if not any(out.iterdir()):
        return
    export = Artifact(out)
    if not export.is_finished or export.manifest().kind != EXPORT:
        raise UserError(f"{out} holds files that no export wrote: name another folder with --out")
    if not overwrite:
        raise UserError(f"{out} holds an export: --overwrite replaces it, or name another folder with --out")
    if other := next(foreign_files(out, export.manifest().files), None):
        raise UserError(f"{out} holds {other}: move that away, or name another folder with --out")
