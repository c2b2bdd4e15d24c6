"""Save the partial results of long work on many items, so that a killed run resumes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from genrobust.core import GenrobustError, digest
from genrobust.store.artifact import Artifact, artifact_folder
from genrobust.store.files import make_folder, replacing
from genrobust.store.manifest import Manifest

PARTS = ".parts"  # folder of the parts, in the folder of the results
PART = 2000  # items per part: the most that a kill loses
Arrays = Mapping[str, np.ndarray]
Advance = Callable[..., None]  # `advance` of a progress bar
log = logging.getLogger(__name__)


def no_progress(*counted: object, **more: object) -> None:
    """Ignore progress: the `advance` of work without a progress bar."""


class KeptParts:
    """Saved parts of long work, in an unfinished artifact below `folder` until `remove`. None saves no part.

    The artifact and its parts are named after `inputs`, everything that the arrays depend on. So other work finds
    nothing. If parts cannot be saved, such as on a full disk, the work continues with a warning.
    """

    def __init__(self, folder: Path | None, *inputs: object) -> None:
        self._manifest = Manifest("parts", {"work": digest(inputs)})
        self._artifact: Artifact | None = None
        if folder is not None:
            self._artifact = Artifact(artifact_folder(folder, "work", self._manifest.inputs), mirrored=False)
        self._inputs = inputs
        self._root = self

    def child(self, *inputs: object) -> KeptParts:
        """Return the parts of a piece of this work that depends on further `inputs`."""
        piece = KeptParts(None, *self._inputs, *inputs)
        piece._root = self._root
        return piece

    def run(self, total: int, each: int, make: Callable[[range], Arrays], advance: Advance) -> dict[str, np.ndarray]:
        """Call `make` for ranges of `each` items, and return its arrays joined along their first axes.

        Parts that an earlier run saved are loaded. Work of one part is not saved.

        Args:
            total: Number of items, one or more.
            make: Returns arrays for a range of items, and advances the progress bar itself.
            advance: Advances the progress bar for loaded parts.
        """
        parts: list[Arrays] = []
        for start in range(0, total, each):
            items = range(start, min(start + each, total))
            has_several = total > each
            part = self._load(items) if has_several else None
            if part is not None:
                advance(len(items), found=True)
            else:
                part = make(items)
                if has_several:
                    self._save(items, part)
            parts.append(part)
        return {key: np.concatenate([arrays[key] for arrays in parts]) for key in parts[0]}

    def remove(self) -> None:
        artifact = self._root._artifact
        if artifact is not None:
            artifact.remove()
            # The folder may hold parts of other work, or not exist.
            with suppress(OSError):
                artifact.folder.parent.rmdir()

    def _part_name(self, items: range) -> str:
        return digest([*self._inputs, items.start, items.stop])

    def _load(self, items: range) -> Arrays | None:
        artifact = self._root._artifact
        part = self._part_name(items)
        try:
            if artifact is None or artifact.part(part) is None:
                return None
            with np.load(artifact.path(f"{part}.npz", part), allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
        except GenrobustError as error:
            log.warning("%s", error)
            return None

    def _save(self, items: range, arrays: Arrays) -> None:
        artifact = self._root._artifact
        part = self._part_name(items)
        if artifact is None:
            return
        path = artifact.folder / f"{part}.npz"
        try:
            make_folder(artifact.folder)
            artifact.begin(self._root._manifest)
            with replacing(path) as file:
                np.savez(file, allow_pickle=False, **arrays)
            artifact.finish_part(part, [path.name], {})
        except GenrobustError as error:
            log.warning("%s: nothing more is saved, and an interrupted run starts again", error)
            self.remove()
            self._root._artifact = None
