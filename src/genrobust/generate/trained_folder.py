"""A generator that was trained here: the artifact in its folder says what it was made from."""

from __future__ import annotations

from pathlib import Path

from genrobust.core import Artifact

GENERATOR = "generator"  # the kind of the artifact


def check_trained(folder: Path) -> None:
    """Compare the files of a generator with its manifest, where it was trained here; a process reads them once.

    Raises:
        GenrobustError: A file is damaged; the message names the first.
    """
    artifact = Artifact(folder)
    if artifact.is_finished_as(GENERATOR):
        artifact.check_files()
