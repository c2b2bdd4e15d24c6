"""Sources of studies whose images lie in folders of the user."""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from genrobust.core import ImageSet, StudyData
from genrobust.data.classes import FolderClasses
from genrobust.data.folders import HELD_OUT, hold_back, open_images
from genrobust.data.reader import DataSource
from genrobust.data.stored import open_stored
from genrobust.recipe import Between, Place


class FolderSource(DataSource):
    """Training, validation and test images in places of their own.

    Without `val`, `held_out` is the share of each class that is taken from the training images for validation. With 0,
    arms train on all of them, and need `train.keep: last`.
    """

    train: Place | None = None
    val: Place | None = None
    held_out: Annotated[float, Between(0, 0.5, "most images are for training")] = HELD_OUT
    test: Place | None = None  # images that are not shifted

    @property
    def holds_out_none(self) -> bool:
        return self.held_out == 0 and self.val is None

    @model_validator(mode="after")
    def _check_held_out(self) -> FolderSource:
        if self.held_out != HELD_OUT and self.val is not None:
            raise ValueError(f"held_out: the validation images are {self.val}: leave one of the two out")
        return self

    def study_of(self, classes: FolderClasses, train: ImageSet, test: ImageSet) -> tuple[StudyData, FolderClasses]:
        """Return the study of `train` and the clean `test`, with the validation images."""
        if self.val is None:
            train, val = hold_back(train, self.held_out)
            return StudyData(classes.labels, train, val, {"test": test}, "test"), classes
        images = open_images("val", open_stored(self.val), classes, self.same_class)
        return StudyData(classes.labels, train, images, {"test": test}, "test"), classes
