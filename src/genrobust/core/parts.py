"""Long work on many items, part after part: parts are kept in files until all is done, and a killed run resumes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from genrobust.core.artifact import Artifact, Manifest, artifact_folder
from genrobust.core.errors import GenrobustError
from genrobust.core.files import make_folder, replacing
from genrobust.core.keys import digest

PARTS = ".parts"  # their folder, in that of the results
PART = 2000  # items, of which a kill loses at most those of one part
Arrays = Mapping[str, np.ndarray]
Advance = Callable[..., None]  # as a bar's `advance`
log = logging.getLogger(__name__)


def no_progress(*counted: object, **more: object) -> None:
    """Ignore progress: the `advance` of work that shows none."""


class KeptParts:
    """The parts of long work, in an unfinished artifact below `folder` until `remove`; None keeps none.

    The artifact and its parts are named after `inputs`, which are all that the arrays depend on: other work finds
    nothing. Where parts cannot be kept, such as on a full disk, the work goes on without, with a warning.
    """

    def __init__(self, folder: Path | None, *inputs: object) -> None:
        self._manifest = Manifest("parts", {"work": digest(inputs)})
        place = None if folder is None else artifact_folder(folder, "work", self._manifest.inputs)
        self._artifact = None if place is None else Artifact(place, mirrored=False)
        self._inputs, self._root = inputs, self

    def child(self, *inputs: object) -> KeptParts:
        """Return the parts of a piece of this work, which depend on `inputs` as well."""
        piece = KeptParts(None, *self._inputs, *inputs)
        piece._root = self._root
        return piece

    def run(self, total: int, each: int, make: Callable[[range], Arrays], advance: Advance) -> dict[str, np.ndarray]:
        """Return what `make` returns for `total` items in ranges of `each`: its arrays, joined along their first axes.

        There are one or more. `make` advances the bar itself; for parts that an earlier run kept, this does. Work of
        one part is not kept.
        """
        parts: list[Arrays] = []
        for start in range(0, total, each):
            items = range(start, min(start + each, total))
            part = self._load(items) if total > each else None
            if part is not None:
                advance(len(items), found=True)
            else:
                part = make(items)
                if total > each:
                    self._save(items, part)
            parts.append(part)
        return {key: np.concatenate([arrays[key] for arrays in parts]) for key in parts[0]}

    def remove(self) -> None:
        """Remove what is kept, now that the work is done."""
        if (artifact := self._root._artifact) is not None:
            artifact.remove()
            with suppress(OSError):  # it holds that of other work, or was never made
                artifact.folder.parent.rmdir()

    def _part_name(self, items: range) -> str:
        return digest([*self._inputs, items.start, items.stop])

    def _load(self, items: range) -> Arrays | None:
        artifact, part = self._root._artifact, self._part_name(items)
        try:
            if artifact is None or artifact.part(part) is None:
                return None
            with np.load(artifact.path(f"{part}.npz", part), allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
        except GenrobustError as error:
            log.warning("%s", error)
            return None

    def _save(self, items: range, arrays: Arrays) -> None:
        artifact, part = self._root._artifact, self._part_name(items)
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
            log.warning("%s: nothing more is kept, and if it is interrupted, it begins anew", error)
            self.remove()
            self._root._artifact = None
