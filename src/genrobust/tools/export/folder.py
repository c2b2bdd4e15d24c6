"""The folder of an export, which appears complete or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genrobust.core import Artifact, Manifest, UserError, foreign_files, lock, made_by, make_folder, refusal

EXPORT = "export"  # the kind of artifact
CARD = "README.md"
REPO = "repo_type"  # the key of its manifest: the kind of repository on the hub, "dataset" or "model"


@contextmanager
def new_folder(out: Path, overwrite: bool, repo: str) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` when the block ends well, and is removed when it does not.

    With `overwrite`, an export in `out` stays until the new one is on the disk. The next export removes the hidden
    folders that a killed process leaves beside `out`.

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
            check_target(out, overwrite)
            new.mkdir()
            yield new
            Artifact(new).publish(Manifest(EXPORT, about={REPO: repo}, made_by=made_by(EXPORT)))
            if hasattr(os, "sync"):  # one call for a million files; a rename may else reach the disk before them
                os.sync()
            check_target(out, overwrite)  # again: writing may have taken hours
            if out.exists():
                out.rename(old)
            new.rename(out)
            shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise refusal(out.parent, error) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)


def check_target(out: Path, overwrite: bool) -> None:
    """Raise UserError where `out` is something that an export may not replace."""
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return
    files = export_files(out)
    if not files:
        raise UserError(f"{out} holds files that no export wrote: name another folder with --out")
    if not overwrite:
        raise UserError(f"{out} holds an export: --overwrite replaces it, or name another folder with --out")
    if other := next(foreign_files(out, files), None):
        raise UserError(f"{out} holds {other}: move that away, or name another folder with --out")


def export_files(folder: Path) -> Mapping[str, Any]:
    """Return the files of the export in `folder` by name; none where there is no export."""
    export = Artifact(folder)
    if not export.is_finished or (manifest := export.manifest()).kind != EXPORT:
        return {}
    return manifest.files
