"""Verifies artifacts: each file against the SHA-256 in the manifest, and sets aside what is made again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from genrobust.core import GenrobustError, UserError, progress_bar
from genrobust.store import MANIFEST, PAGES, REWRITE, Artifact, Damage, artifacts, lock, make_folder, refusal

ASIDE = ".damaged"  # hidden, so that what reads all files of a folder does not read these
# Kinds whose files people edit: a change is named, and stays.
_EDITED = (PAGES, "export")


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of `verify_outputs`.

    Attributes:
        checked: The number of artifacts.
        damaged: The files that are to be made again, and what is wrong with each.
        changed: The files of reports and exports that someone edited, or that were damaged; they stay.
        unfinished: The artifacts that are not made to the end.
        aside: Where what was damaged lies now; None where nothing was moved.
    """

    checked: int
    damaged: dict[Path, str]
    changed: tuple[Path, ...]
    unfinished: tuple[Path, ...]
    aside: Path | None = None


def verify_outputs(folder: Path, repair: bool = False) -> Verified:
    """Compare every file of the artifacts in `folder` and below it with its SHA-256; other files are not looked at.

    `repair` moves what is damaged, and what is made again together with it, into the subfolder `ASIDE`, so that the
    commands that made it make it again: of a dataset the damaged shards alone.

    Raises:
        UserError: There is no artifact or, with `repair`, another process writes there.
        GenrobustError: The system refuses to write.
    """
    existing = list(artifacts(folder))
    if not existing:
        raise UserError(
            f"{folder} holds nothing that genrobust made, by no {MANIFEST}: name the folder of a dataset or of studies"
        )
    damaged: dict[Path, str] = {}
    changed: list[Path] = []
    aside = None
    with progress_bar("verifying", len(existing), "artifacts") as bar:
        for artifact in existing:
            damages = list(artifact.damage())
            if damages and _is_edited(artifact):
                changed += [damage.path for damage in damages if damage.path.exists()]
            elif damages:
                damaged |= {damage.path: damage.what for damage in damages}
                if repair:
                    aside = _set_aside(folder, artifact, damages, aside)
            bar.advance()
    unfinished = tuple(artifact.folder for artifact in existing if artifact.is_begun and not artifact.is_finished)
    return Verified(len(existing), damaged, tuple(changed), unfinished, aside)


def _is_edited(artifact: Artifact) -> bool:
    try:
        return artifact.manifest().kind in _EDITED
    except GenrobustError:
        return False


def _set_aside(folder: Path, artifact: Artifact, damages: Sequence[Damage], aside: Path | None) -> Path:
    """Move what is to be made again into `aside`, or into a new subfolder of `ASIDE`; return that."""
    if aside is None:
        aside = next(path for n in count(1) if not (path := folder / ASIDE / str(n)).exists())
    names = [damage.path.relative_to(artifact.folder).as_posix() for damage in damages]
    together = dict.fromkeys(other for name in names for other in artifact.made_with(name))
    try:
        with lock(artifact.folder):
            for name in together:
                _move(artifact.folder / name, aside / artifact.folder.relative_to(folder) / name)
            artifact.reopen()
    except OSError as error:
        raise refusal(folder, error) from error
    return aside


def _move(path: Path, to: Path) -> None:
    if path.is_file():
        make_folder(to.parent)
        shutil.move(path, to)  # a link may lead to another file system


def describe_verified(verified: Verified) -> Iterator[str]:
    """Yield lines for the user: what was found, and what to do next."""
    yield from verified.damaged.values()
    for path in verified.changed:
        yield f"{path} was changed after genrobust wrote it: if that was not you, {REWRITE}"
    for folder in verified.unfinished:
        yield f"not finished: {folder}"
    if not (verified.damaged or verified.changed):
        yield f"all {verified.checked:,} artifacts are as they were written"
    if verified.aside is not None:
        yield f"set aside, to be deleted once everything is made again: {verified.aside}"
