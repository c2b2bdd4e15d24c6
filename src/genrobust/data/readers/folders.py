"""Images of one's own: class folders, WebDataset tars or Hugging Face parquet files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field, StrictFloat, model_validator

from genrobust.core import ImageSet, StudyData, UserError, some_of
from genrobust.data.classes import FolderClasses, classes_of
from genrobust.data.folders import HELD_OUT, hold_back, kept_together, open_images
from genrobust.data.imagenet_classes import by_number
from genrobust.data.imagenet_sets import wordnet_ids
from genrobust.data.reader import DataSource, Reader
from genrobust.data.readers.domain_sets import domains_in
from genrobust.data.stored import open_stored
from genrobust.recipe import READERS, SOURCES, Place

log = logging.getLogger(__name__)


class FolderSource(DataSource):
    """Training, validation and test images in places of their own.

    `held_out` is the share of each class that is taken from `train` where `val` is missing; 0 needs `train.keep: last`.
    """

    train: Place | None = None
    val: Place | None = None
    held_out: Annotated[StrictFloat, Field(ge=0, le=0.5)] = HELD_OUT
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
            train, val = hold_back(train, self.held_out, kept_together(train, self.groups_apart))
            return StudyData(classes.labels, train, val, {"test": test}, "test"), classes
        images = open_images("val", open_stored(self.val), classes, self.same_class)
        return StudyData(classes.labels, train, images, {"test": test}, "test"), classes


@SOURCES.register("folders")
class Folders(FolderSource):
    """Your own images in `train` and `test`, one subfolder for each class.

    `class_names` maps a subfolder to the name that is shown and used in prompts.
    """

    train: Place
    test: Place  # images that are not shifted
    class_names: dict[str, str] = Field(default_factory=dict)

    def load(self) -> tuple[StudyData, FolderClasses]:
        """Load the study; the clean test set is called "test". Damage inside an image shows when it is decoded.

        Raises:
            UserError: A missing, unreadable or empty folder, a class without images, an empty file, or a folder that
                means no class.
        """
        stored = open_stored(self.train)
        if styles := domains_in(stored.path):
            log.warning(
                "data.train: %s are taken for classes, and hold the same folders: if these are the classes, use "
                "source: domains", some_of(styles),
            )  # fmt: skip
        classes = classes_of(stored, self.class_names)
        train = open_images("train", stored, classes)
        known = set(np.unique(train.labels).tolist())
        for label, name in enumerate(classes.folders):
            if label not in known:
                raise UserError(f"the class folder {stored.path / name} holds no image: add some, or remove the folder")
        return self.study_of(classes, train, open_images("test", open_stored(self.test), classes, self.same_class))


@READERS.register("folders")
class ShiftedFolders(Reader):
    """Class folders as in the training set, a CSV table, tars or parquet files.

    Where the classes are ImageNet's, they may be named as these are.
    """

    def open(self, name: str, classes: FolderClasses, same_class: Mapping[str, str]) -> Mapping[str, ImageSet]:
        stored = open_stored(self.path)
        if classes.imagenet:
            stored = replace(stored, named=wordnet_ids(stored))
            numbers = [group for group in stored.groups if group.isdecimal() and group not in same_class]
            by_study = {number: by_number(number, classes.labels.ids) for number in numbers}
            if all(by_study.values()) and by_study != {number: stored.named[number] for number in numbers}:
                raise UserError(
                    f"{stored.path}: the numbers {some_of(numbers, 3)} may count ImageNet's 1,000 classes, or the "
                    f"{len(classes.labels)} of data.classes: rename them to WordNet ids, or map them in data.same_class"
                )
        return {name: open_images(name, stored, classes, same_class)}
