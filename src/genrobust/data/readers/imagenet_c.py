"""ImageNet-C (Hendrycks and Dietterich, 2019): the validation images under 19 corruptions at five severities.

Each corruption and severity is a test set of its own, in ``{corruption}/{severity}``. There is no published line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, StrictInt

from genrobust.core import ImageSet, UserError
from genrobust.data.classes import FolderClasses
from genrobust.data.imagenet_sets import ImageNetReader, OfficialSet
from genrobust.data.stored_images import open_stored
from genrobust.recipe import READERS


@READERS.register("imagenet-c")
class ImageNetC(ImageNetReader):
    """ImageNet-C (Hendrycks and Dietterich, 2019): the validation images under 19 corruptions at five severities.

    Each is a test set. All show the same images, and intervals of means are over these. Like `kind: corruptions`, they
    do not count in the mean of shifts, unless the study has no other shift.
    """

    derived = True

    corruption: str | None = None  # such as gaussian_noise; all if None, each a test set of its own
    severity: Annotated[StrictInt, Field(ge=1, le=5)] | None = None  # all if None
    official = OfficialSet(kind="imagenet-c", each=50)

    def open(self, name: str, classes: FolderClasses, same_class: Mapping[str, str]) -> Mapping[str, ImageSet]:
        """Open each chosen set. Its name contains the corruption and severity unless the recipe chooses them."""
        self.require_imagenet(name, classes)
        pattern = f"{self.corruption or '*'}/{self.severity or '[1-5]'}"
        folders = sorted(path for path in self.path.glob(pattern) if path.is_dir())
        if not folders:
            raise UserError(f"data.shifts.{name}: {self.path} has no folder {pattern} (such as gaussian_noise/3)")
        opened = {}
        for path in folders:
            parts = [name]
            if self.corruption is None:
                parts.append(path.parent.name)
            if self.severity is None:
                parts.append(path.name)
            full_name = "-".join(parts)
            images = self.official.read(full_name, open_stored(path), classes, same_class)
            images.pictures = images.keys  # the same in all folders
            opened[full_name] = images
        return opened
