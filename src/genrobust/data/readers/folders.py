"""Images of one's own in places of their own: training, validation and test images."""

from __future__ import annotations

import logging
from typing import Annotated

import numpy as np
from pydantic import Field, StrictFloat, model_validator

from genrobust.core import ImageSet, StudyData, UserError, some_of
from genrobust.data.classes import FolderClasses, classes_of
from genrobust.data.data_source import DataSource
from genrobust.data.held_out import HELD_OUT, hold_back, kept_together
from genrobust.data.image_kinds import Reader, as_reader
from genrobust.data.labeled_images import open_images
from genrobust.data.readers.domain_sets import domains_in
from genrobust.data.stored_images import StoredImages, open_stored
from genrobust.recipe import READERS, SOURCES, Images

log = logging.getLogger(__name__)


class FolderSource(DataSource):
    """Training, validation and test images in places of their own.

    `held_out` is the share of each class that is taken from `train` if there is no `val`. 0 needs `train.keep: last`.
    """

    train: Images | None = None
    val: Images | None = None
    held_out: Annotated[StrictFloat, Field(ge=0, le=0.5)] = HELD_OUT
    test: Images | None = None  # images that are not shifted

    @property
    def holds_out_none(self) -> bool:
        return self.held_out == 0 and self.val is None

    @model_validator(mode="after")
    def _check_held_out(self) -> FolderSource:
        if self.held_out != HELD_OUT and self.val is not None:
            raise ValueError("held_out: the key val names the validation images: leave one of the two out")
        return self

    def study_of(self, classes: FolderClasses, train: ImageSet, test: ImageSet) -> tuple[StudyData, FolderClasses]:
        """Return the study of `train` and the clean `test`, with the validation images."""
        val: ImageSet
        if self.val is None:
            train, val = hold_back(train, self.held_out, kept_together(train, self.groups_apart))
        else:
            stored = as_reader(self.val, "data.val").list_stored("data.val")
            val = open_images("val", stored, classes, self.same_class)
        return StudyData(classes.labels, train, val, {"test": test}, "test"), classes


@SOURCES.register("folders")
class Folders(FolderSource):
    """Your own images in `train` and `test`, one subfolder for each class.

    `class_names` maps a subfolder to the name that is shown and used in prompts.
    """

    train: Images
    test: Images  # images that are not shifted
    class_names: dict[str, str] = Field(default_factory=dict)

    def load(self) -> tuple[StudyData, FolderClasses]:
        """Load the study; the clean test set is called "test". Damage inside an image shows when it is decoded."""
        stored = as_reader(self.train, "data.train").list_stored("data.train")
        styles = domains_in(stored.path)
        if styles:
            log.warning(
                "data.train: %s are taken for classes, and hold the same folders: if these are the classes, use "
                "source: domains",
                some_of(styles),
            )
        classes = classes_of(stored, self.class_names)
        train = open_images("train", stored, classes)
        _require_images(stored, classes, train)
        test = as_reader(self.test, "data.test").list_stored("data.test")
        return self.study_of(classes, train, open_images("test", test, classes, self.same_class))


def _require_images(stored: StoredImages, classes: FolderClasses, train: ImageSet) -> None:
    labels = set(np.unique(train.labels).tolist())
    for label, name in enumerate(classes.folders):
        if label not in labels:
            raise UserError(f"the class folder {stored.path / name} holds no image: add some, or remove the folder")


@READERS.register("folders")
class Files(Reader):
    """Images at a path: class folders, a CSV table, tars or parquet files.

    Where the classes are ImageNet's, they may be named as these are.
    """

    def list_stored(self, key: str) -> StoredImages:
        return open_stored(self.path)
