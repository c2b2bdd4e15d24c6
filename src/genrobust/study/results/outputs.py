"""Verifies artifacts: compares each file with the SHA-256 in the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genrobust.core import GenrobustError, UserError, progress_bar
from genrobust.store import MANIFEST, PAGES, REWRITE, Artifact, artifacts

# Kinds whose files people edit.
_EDITED = (PAGES, "export")


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of `verify_outputs`.

    Attributes:
        checked: The number of artifacts.
        damaged: What is wrong with each damaged file, and what to delete.
        changed: Files of reports and exports that someone edited, or that were damaged.
        unfinished: The folders of unfinished artifacts.
    """

    checked: int
    damaged: dict[Path, str]
    changed: tuple[Path, ...]
    unfinished: tuple[Path, ...]


def verify_outputs(folder: Path) -> Verified:
    """Compare every file of the artifacts in `folder` and below it with its SHA-256. Other files are not read.

    Raises:
        UserError: There is no artifact.
    """
    existing = list(artifacts(folder))
    if not existing:
        raise UserError(
            f"{folder} holds nothing that genrobust made, by no {MANIFEST}: name the folder of a dataset or of studies"
        )
    damaged: dict[Path, str] = {}
    changed: list[Path] = []
    with progress_bar("verifying", len(existing), "artifacts") as bar:
        for artifact in existing:
            damage = artifact.damage()
            if damage and _is_edited(artifact):
                changed += [path for path in damage if path.exists()]
            else:
                damaged |= damage
            bar.advance()
    unfinished = tuple(artifact.folder for artifact in existing if artifact.is_begun and not artifact.is_finished)
    return Verified(len(existing), damaged, tuple(changed), unfinished)


def _is_edited(artifact: Artifact) -> bool:
    try:
        return artifact.manifest().kind in _EDITED
    except GenrobustError:
        return False


def describe_verified(verified: Verified) -> Iterator[str]:
    """Yield lines for the user: what was found, and what to do next."""
    yield from verified.damaged.values()
    for path in verified.changed:
        yield f"{path} was changed after genrobust wrote it: if that was not you, {REWRITE}"
    for folder in verified.unfinished:
        yield f"not finished: {folder}"
    if not (verified.damaged or verified.changed):
        yield f"all {verified.checked:,} artifacts are as they were written"
