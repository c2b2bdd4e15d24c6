"""Images of one's own: class folders, WebDataset tars, Hugging Face parquet files or a saved dataset."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genrobust.core import StudyData, UserError
from genrobust.data.file_list import ListedImages
from genrobust.data.folders import FolderClasses, open_images, read_classes, study_of, train_folder
from genrobust.data.imagenet_sets import wordnet_ids
from genrobust.data.reader import READERS
from genrobust.data.stored import open_stored
from genrobust.recipe import DataConfig, ShiftConfig


class Folders:
    """Reads a study from its folders, and a shifted test set of any source: a Source and a ShiftReader."""

    def load(self, config: DataConfig) -> StudyData:
        """Load the study; the clean test set is called "test". Damage inside an image shows when it is decoded.

        Raises:
            UserError: A missing, unreadable or empty folder, a class without images, an empty file, or a folder that
                means no class.
        """
        stored = open_stored(train_folder(config))
        classes = read_classes(config, stored)
        train = open_images("train", stored, classes)
        known = set(np.unique(train.labels).tolist())
        for label, name in enumerate(classes.folders):
            if label not in known:
                raise UserError(f"the class folder {stored.path / name} holds no image: add some, or remove the folder")
        if config.test is None:
            raise UserError("data.test: name the folder of the unshifted test set")
        return study_of(
            config, classes, train, open_images("test", open_stored(config.test), classes, config.same_class)
        )

    def open(
        self, name: str, shift: ShiftConfig, classes: FolderClasses, same_class: Mapping[str, str]
    ) -> dict[str, ListedImages]:
        """Open the images at the shift's path; where classes are ImageNet's, they may be named as these are."""
        stored = open_stored(shift.path)
        known = wordnet_ids(stored) if classes.imagenet else {}
        return {name: open_images(name, stored, classes, known | dict(same_class))}


READERS.register("folders")(Folders())
