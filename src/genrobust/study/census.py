"""The contents of a study's images: read once, kept for later runs, and compared where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from genrobust.core import Artifact, GenrobustError, ImageSet, Manifest, artifact_folder, made_by, reading, replacing
from genrobust.data import hash_contents

ROOM, FILE = "census", "contents.npy"


def contents_in(out: Path, images: ImageSet) -> np.ndarray | None:
    """Return the SHA-256 of the file of each image, uint8 [N, 32], as kept in `out`; None where they are no files.

    They are read where they are not kept for these names, sizes and times of change, and then kept if `out` is there.

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
            known: np.ndarray = np.load(path, allow_pickle=False)
            return known
    contents = hash_contents(images)
    if out.exists():
        with suppress(GenrobustError):  # it is full or may not be written: whatever is made there says so
            keep_contents(out, images, contents)
    return contents


def keep_contents(out: Path, images: ImageSet, contents: np.ndarray | None) -> None:
    """Keep the `contents` of a set in `out`, where there are any."""
    inputs = {"images": images.fingerprint}
    artifact = Artifact(artifact_folder(out / ROOM, images.name, inputs))
    if contents is not None and not artifact.is_finished:
        manifest = Manifest(ROOM, inputs, {"images": len(images)}, made_by(ROOM))
        with artifact.writing(manifest, FILE), replacing(artifact.folder / FILE) as file:
            np.save(file, contents, allow_pickle=False)


def find_changed_images(out: Path, sets: Mapping[str, ImageSet]) -> tuple[int, dict[str, list[str]]]:
    """Read all images again, and return their number and, by set, the keys of those whose contents changed.

    A change of size or time is no change here: with it, the images are others, and nothing that was made of the former
    ones is used.

    Raises:
        UserError: A file cannot be read.
        GenrobustError: What is kept is damaged.
    """
    total = 0
    changed: dict[str, list[str]] = {}
    for name, images in sets.items():
        if (known := contents_in(out, images)) is None:
            continue
        contents = hash_contents(images)
        assert contents is not None
        total += len(known)
        if places := np.flatnonzero((contents != known).any(axis=1)).tolist():
            changed[name] = [images.keys[place] for place in places]
    return total, changed
