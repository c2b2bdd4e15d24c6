"""What a study reads of its images to compare them: read once, kept for later runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core import (
    Artifact,
    GenrobustError,
    ImageSet,
    Manifest,
    artifact_folder,
    made_by,
    reading,
    replacing,
)
from genrobust.data import hash_contents

ROOM, FILE = "census", "contents.npy"
NEAR_COPIES = "near copies"
NEAR_VERSION = 1  # raise it where other images count as near copies


@dataclass
class Census:
    """What is known of the images of the study in the folder `out`, where it is kept.

    What is read before there is a folder is kept by `keep`.
    """

    out: Path
    _unkept: list[tuple[str, Mapping[str, Any], np.ndarray]] = field(default_factory=list)

    def contents(self, images: ImageSet) -> np.ndarray | None:
        """Return the SHA-256 of the file of each image, uint8 [N, 32]; None where they are no files.

        They are read where they are not kept for these names, sizes and times of change.

        Raises:
            UserError: A file cannot be read.
            GenrobustError: What is kept is damaged.
        """
        if getattr(images, "encoded", None) is None:
            return None

        def read() -> np.ndarray:
            contents = hash_contents(images)
            assert contents is not None
            return contents

        return self._known(images.name, {"images": images.fingerprint}, read)

    def near_copies(self, sets: Mapping[str, ImageSet], tests: Mapping[str, ImageSet]) -> dict[str, np.ndarray]:
        """Return for each image of each of `sets` the place in `tests` of the set with its near copy, -1 for none.

        Raises:
            UserError: An image cannot be read.
            GenrobustError: What is kept is damaged.
        """

        def find() -> np.ndarray:
            from genrobust.audit import find_near_copies

            return find_near_copies([*sets.values()], [*tests.values()])

        every = {"sets": sets, "tests": tests}
        inputs: dict[str, Any] = {key: [images.fingerprint for images in of.values()] for key, of in every.items()}
        found = self._known(NEAR_COPIES, {**inputs, "version": NEAR_VERSION}, find)
        ends = np.cumsum([len(images) for images in sets.values()])
        return dict(zip(sets, np.split(found, ends[:-1]), strict=True))

    def keep(self) -> None:
        """Keep what was read before there was a folder."""
        while self._unkept:
            self._keep(*self._unkept.pop())

    def find_changed_images(self, sets: Mapping[str, ImageSet]) -> tuple[int, dict[str, list[str]]]:
        """Read all images again, and return their number and, by set, the keys of those whose contents changed.

        A change of size or time is no change here: with it, the images are others, and nothing that was made of the
        former ones is used.

        Raises:
            UserError: A file cannot be read.
            GenrobustError: What is kept is damaged.
        """
        total = 0
        changed: dict[str, list[str]] = {}
        for name, images in sets.items():
            if (known := self.contents(images)) is None:
                continue
            contents = hash_contents(images)
            assert contents is not None
            total += len(known)
            if places := np.flatnonzero((contents != known).any(axis=1)).tolist():
                changed[name] = [images.keys[place] for place in places]
        return total, changed

    def _known(self, name: str, inputs: Mapping[str, Any], read: Callable[[], np.ndarray]) -> np.ndarray:
        """Return what is kept for `inputs`; where nothing is, what `read` returns, which is then kept."""
        artifact = self._artifact(name, inputs)
        if artifact.is_finished:
            path = artifact.path(FILE)
            with reading(path, ValueError, kind=GenrobustError):
                known: np.ndarray = np.load(path, allow_pickle=False)
                return known
        known = read()
        if not self.out.exists():
            self._unkept.append((name, inputs, known))
        else:
            with suppress(GenrobustError):  # it is full or may not be written: whatever is made there says so
                self._keep(name, inputs, known)
        return known

    def _keep(self, name: str, inputs: Mapping[str, Any], known: np.ndarray) -> None:
        artifact = self._artifact(name, inputs)
        if not artifact.is_finished:
            manifest = Manifest(ROOM, dict(inputs), {"images": len(known)}, made_by(ROOM))
            with artifact.writing(manifest, FILE), replacing(artifact.folder / FILE, mirrored=False) as file:
                np.save(file, known, allow_pickle=False)

    def _artifact(self, name: str, inputs: Mapping[str, Any]) -> Artifact:
        """The artifact of what is known, which stays on this machine: its inputs are times of change on its disk."""
        return Artifact(artifact_folder(self.out / ROOM, name, inputs), mirrored=False)
