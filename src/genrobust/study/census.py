"""The contents of a study's images, read once, and kept for later runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genrobust.core import Artifact, GenrobustError, ImageSet, Manifest, artifact_folder, made_by, reading, replacing
from genrobust.data import hash_contents

ROOM, FILE = "census", "contents.npy"


def contents_in(out: Path, images: ImageSet) -> np.ndarray | None:
    """Return the SHA-256 of the file of each image, uint8 [N, 32], as kept in `out`; None where they are no files.

    They are read where they are not kept for these names, sizes and times of change.

    Raises:
        UserError: A file cannot be read.
        GenrobustError: What is kept is damaged.
    """
    if getattr(images, "encoded", None) is None:
        return None
    inputs = {"images": images.fingerprint}
    artifact = Artifact(artifact_folder(out / ROOM, images.name, inputs))
    if artifact.is_finished:
        path = artifact.path(FILE)
        with reading(path, ValueError, kind=GenrobustError):
            kept: np.ndarray = np.load(path, allow_pickle=False)
            return kept
    contents = hash_contents(images)
    assert contents is not None
    manifest = Manifest(ROOM, inputs, {"images": len(images)}, made_by(ROOM))
    with artifact.writing(manifest, FILE), replacing(artifact.folder / FILE) as file:
        np.save(file, contents, allow_pickle=False)
    return contents
