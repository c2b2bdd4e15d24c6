"""Long work on many items, part after part: parts are kept in files until all is done, and a killed run resumes."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from genrobust.core.arrays import load_arrays, save_arrays
from genrobust.core.errors import GenrobustError, reading
from genrobust.core.files import make_folder
from genrobust.core.keys import digest

PARTS = ".parts"  # their folder, in that of the results
PART = 2000  # items, of which a kill loses at most those of one part
Arrays = Mapping[str, np.ndarray]
Advance = Callable[..., None]  # as a bar's `advance`
log = logging.getLogger(__name__)


class KeptParts:
    """The parts of long work, in a folder of its own below `folder` until `remove`; None keeps none.

    That and the files in it are named after `inputs`, which are all that the arrays depend on: other work finds
    nothing. Where parts cannot be kept, such as on a full disk, the work goes on without, with a warning.

    Attributes:
        found: How many items an earlier run had made, over all pieces of the work.
    """

    def __init__(self, folder: Path | None, *inputs: object) -> None:
        self._folder = None if folder is None else folder / digest(inputs)
        self._inputs, self._whole = inputs, self
        self.found = 0

    def of(self, *inputs: object) -> KeptParts:
        """Return the parts of a piece of this work, which depend on `inputs` as well."""
        piece = KeptParts(None, *self._inputs, *inputs)
        piece._folder, piece._whole = self._folder, self._whole
        return piece

    def run(self, total: int, each: int, make: Callable[[range], Arrays], advance: Advance) -> dict[str, np.ndarray]:
        """Return what `make` returns for `total` items in ranges of `each`: its arrays, joined along their first axes.

        There are one or more. `make` advances the bar itself; for parts that an earlier run kept, this does. Work of
        one part is not kept.
        """
        found: list[Arrays] = []
        for start in range(0, total, each):
            items = range(start, min(start + each, total))
            kept = self._load(items) if total > each else None
            if kept is not None:
                self._whole.found += len(items)
                advance(len(items), found=True)
            else:
                kept = make(items)
                if total > each:
                    self._save(items, kept)
            found.append(kept)
        return {key: np.concatenate([arrays[key] for arrays in found]) for key in found[0]}

    def remove(self) -> None:
        """Remove what is kept, now that the work is done."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            with suppress(OSError):  # it holds that of other work, or was never made
                self._folder.parent.rmdir()

    def _file(self, items: range) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{digest([*self._inputs, items.start, items.stop])}.npz"

    def _load(self, items: range) -> Arrays | None:
        file = self._file(items)
        if file is None or not file.exists():
            return None
        try:
            return read_part(file)
        except GenrobustError as error:
            log.warning("%s", error)
            return None

    def _save(self, items: range, arrays: Arrays) -> None:
        file = self._file(items)
        if file is None or self._whole._folder is None:
            return
        try:
            make_folder(file.parent)
            save_arrays(file, arrays, mirrored=False)
        except GenrobustError as error:
            log.warning("%s: nothing more is kept, and if it is interrupted, it begins anew", error)
            self.remove()
            self._whole._folder = None


def read_part(file: Path) -> dict[str, np.ndarray]:
    """Read a kept part.

    Raises:
        GenrobustError: The file is damaged.
    """
    then = "; delete it, and it is made again"
    with reading(file, ValueError, KeyError, then=then, kind=GenrobustError), load_arrays(file) as arrays:
        return {key: arrays[key] for key in arrays.files}
