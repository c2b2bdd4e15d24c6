"""Hashes and thumbnails of the images of a study, by which they are compared: read once, kept for later runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from genrobust.core import GenrobustError, ImageSet, Subset, UserError, progress_bar, reading
from genrobust.data import describe_broken
from genrobust.leaks import NEAR_VERSION, hash_contents
from genrobust.store import Arrays, Artifact, Manifest, artifact_folder, made_by, no_progress, replacing

ROOM, FILE = "census", "arrays.npz"


@dataclass(frozen=True)
class Census:
    """Facts about the images of a study, kept in its folder `out`."""

    out: Path

    def contents(self, images: ImageSet) -> np.ndarray | None:
        """Return the SHA-256 of the file of each image, uint8 [N, 32]; None where they are no files, or packaged.

        They are read where they are not kept for these names, sizes and times of change.
        """
        known = images.known_contents()
        if known is not None:
            return known
        if images.packaged or not len(images) or images.encoded(0) is None:
            return None

        def read() -> Arrays:
            contents = hash_contents(images)
            assert contents is not None
            return {"contents": contents}

        return self._known(images.name, {"images": images.fingerprint}, read)["contents"]

    def near_copies(self, images: ImageSet, tests: Mapping[str, ImageSet]) -> np.ndarray:
        """Return for each of `images` the place of its near copy among the images of `tests`, -1 for none: int64 [N].

        The places count through the test sets, one set after the other. Sets that both come with genrobust hold no
        near copies of each other.
        """
        others: list[ImageSet] = []
        places = [np.zeros(0, dtype=np.int64)]
        first = 0
        for test in tests.values():
            if len(test) and not (images.packaged and test.packaged):
                others.append(test)
                places.append(np.arange(first, first + len(test)))
            first += len(test)

        def find() -> Arrays:
            from genrobust.leaks import find_near_copies

            theirs = np.concatenate([self.thumbnails(other) for other in others])
            own = self.thumbnails(images)
            with progress_bar(f"looking for copies in {images.name}", len(images)) as bar:
                return {"near": find_near_copies(own, theirs, bar.advance)}

        if not others or not len(images):
            return np.full(len(images), -1)
        inputs = {"images": images.fingerprint, "tests": [of.fingerprint for of in others], "version": NEAR_VERSION}
        near = self._known(f"near copies in {images.name}", inputs, find)["near"]
        return np.where(near < 0, -1, np.concatenate(places)[near])

    def thumbnails(self, images: ImageSet) -> np.ndarray:
        """Return the thumbnails of `images`, as `find_near_copies` takes them."""
        broken = self.broken(images)
        if broken:
            raise UserError(describe_broken(images, broken))
        return self._look(images)["thumbnails"]

    def broken(self, images: ImageSet) -> list[int]:
        """Return the places of the images that cannot be read."""
        return self._look(images)["broken"].tolist()

    def _look(self, images: ImageSet) -> Arrays:
        def read() -> Arrays:
            from genrobust.leaks import thumbnails

            with progress_bar(f"reading {images.name}", len(images), "images") as bar:
                made, broken = thumbnails(images, bar.advance)
            return {"thumbnails": made, "broken": np.array(broken, dtype=np.int64)}

        inputs = {"images": images.fingerprint, "version": NEAR_VERSION}
        known = dict(self._known(f"thumbnails of {images.name}", inputs, read))
        # Look again, since a file may be readable by now: a fingerprint does not depend on its mode.
        places = known["broken"].tolist()
        if places:
            from genrobust.leaks import thumbnails

            made, broken = thumbnails(Subset(images, places), no_progress)
            known["thumbnails"][places] = made
            known["broken"] = known["broken"][broken]
        return known

    def _known(self, name: str, inputs: Mapping[str, Any], read: Callable[[], Arrays]) -> Arrays:
        """Return the arrays kept for `inputs`. If there are none, keep the result of `read`.

        They stay on this machine: their inputs are times of change on its disk.
        """
        artifact = Artifact(artifact_folder(self.out / ROOM, name, inputs), mirrored=False)
        if artifact.is_finished:
            path = artifact.path(FILE)
            with reading(path, ValueError, BadZipFile, kind=GenrobustError), np.load(path, allow_pickle=False) as kept:
                return dict(kept)
        known = read()
        manifest = Manifest(ROOM, dict(inputs), {"images": len(next(iter(known.values())))}, made_by(Census))
        # On a full or read-only disk, the steps of the study say so.
        with suppress(GenrobustError), artifact.writing(manifest, FILE), replacing(artifact.folder / FILE) as file:
            np.savez(file, allow_pickle=False, **known)
        return known
