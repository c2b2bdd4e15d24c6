"""ImageNet-C (Hendrycks and Dietterich, 2019): the validation images under 19 corruptions at five severities.

Each corruption and severity is a test set of its own, in ``{corruption}/{severity}``. None has a line.
"""

from __future__ import annotations

from collections.abc import Mapping

from genrobust.core import UserError
from genrobust.data.file_list import ListedImages
from genrobust.data.folders import FolderClasses
from genrobust.data.imagenet_sets import ImageNetSet
from genrobust.data.reader import READERS
from genrobust.data.stored import open_stored
from genrobust.recipe import ShiftConfig


class ImageNetC(ImageNetSet):
    """Reads the sets that a recipe chooses, each of which holds 50 images of each class."""

    def open(
        self, name: str, shift: ShiftConfig, classes: FolderClasses, same_class: Mapping[str, str]
    ) -> dict[str, ListedImages]:
        """Open each chosen set; a set's name repeats neither corruption nor severity where the recipe chooses it."""
        self.require_imagenet(name, classes)
        pattern = f"{shift.corruption or '*'}/{shift.severity or '[1-5]'}"
        folders = sorted(path for path in shift.path.glob(pattern) if path.is_dir())
        if not folders:
            raise UserError(f"data.shifts.{name}: {shift.path} has no folder {pattern} (such as gaussian_noise/3)")
        opened = {}
        for path in folders:
            parts = [] if shift.corruption else [path.parent.name]
            parts += [] if shift.severity else [path.name]
            full_name = "-".join([name, *parts])
            opened[full_name] = self.read(full_name, open_stored(path), classes, same_class)
        return opened


READERS.register("imagenet-c")(ImageNetC(kind="imagenet-c", each=50))
