"""A generator that was trained here: the artifact in its folder says what it was made from."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from genrobust.core import Artifact, Manifest, UserError

GENERATOR = "generator"  # the kind of the artifact


def base_of(folder: Path) -> str:
    """Return the id of the generator that the one in `folder` was trained from here, "" where it was not.

    Raises:
        GenrobustError: Its manifest is damaged.
    """
    manifest = _manifest(folder)
    return "" if manifest is None else str(manifest.inputs.get("base", ""))


def check_trained(folder: Path) -> None:
    """Compare the files of a generator with its manifest, where it was trained here; a process reads them once.

    Raises:
        GenrobustError: A file is damaged; the message names the first.
    """
    manifest = _manifest(folder)
    for name in () if manifest is None else manifest.files:
        Artifact(folder).path(name)


def _manifest(folder: Path) -> Manifest | None:
    artifact = Artifact(folder)
    with suppress(UserError):  # it is of something else
        if artifact.is_finished and (manifest := artifact.manifest()).kind == GENERATOR:
            return manifest
    return None
