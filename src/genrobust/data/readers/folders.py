"""Images of one's own: class folders, WebDataset tars, Hugging Face parquet files or a saved dataset."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from genrobust.core import ImageSet, StudyData, UserError
from genrobust.data.classes import FolderClasses, classes_of
from genrobust.data.folder_source import FolderSource
from genrobust.data.folders import open_images
from genrobust.data.imagenet_sets import wordnet_ids
from genrobust.data.reader import Reader
from genrobust.data.stored import open_stored
from genrobust.recipe import READERS, SOURCES, Place


@SOURCES.register("folders")
class Folders(FolderSource):
    """Your own images in `train` and `test`, one subfolder for each class.

    `class_names` maps the name of a subfolder to the name that is shown and used in prompts.
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
        known = wordnet_ids(stored) if classes.imagenet else {}
        return {name: open_images(name, stored, classes, known | dict(same_class))}
