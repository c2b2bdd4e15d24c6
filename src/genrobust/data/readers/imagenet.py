"""ImageNet-1k (Deng et al., 2009; Russakovsky et al., 2015) as users have it on disk: the source of a study.

Its validation images are the clean test set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from genrobust.core import LabelSpace, StudyData, UserError
from genrobust.data.classes import FolderClasses
from genrobust.data.ground_truth import is_flat, list_flat
from genrobust.data.image_kinds import Reader, as_reader
from genrobust.data.imagenet_classes import label_space, wnids
from genrobust.data.imagenet_sets import OfficialSet
from genrobust.data.readers.folders import FolderSource
from genrobust.data.stored_images import StoredImages
from genrobust.recipe import SOURCES, ImagesConfig, Place

# Paths of the training and validation images below `root`: as image-net.org's archives unpack, on Kaggle, and in a
# clone of Hugging Face's repository.
LAYOUTS = (
    ("train", "val"),
    ("ILSVRC2012_img_train", "ILSVRC2012_img_val"),
    ("ILSVRC/Data/CLS-LOC/train", "ILSVRC/Data/CLS-LOC/val"),
    ("data/train-*.parquet", "data/val*.parquet"),
)
TRAIN = OfficialSet(kind="train", images=1_281_167)
VALIDATION = OfficialSet(kind="validation", each=50)


@SOURCES.register("imagenet")
class ImageNet(FolderSource):
    """ImageNet-1k in `root`, or in `train` and `test`; ImageNet's own validation images are the unshifted test set.

    `classes` takes lists of WordNet ids or labels, and "imagenet100", the list of Bansal and Grover (2023).

    `class_names` is "unique" (the default), "openai" (CLIP's list, in which two pairs of classes share a name) or a
    mapping from WordNet id to a name that replaces the one of "unique".
    """

    has_published_lines: ClassVar[bool] = True
    needs: ClassVar[str] = "ImageNet, a GPU"

    root: Place | None = None
    class_names: dict[str, str] | Literal["openai", "unique"] = Field(default_factory=dict)

    @field_validator("class_names", mode="before")
    @classmethod
    def _check_class_names(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in ("openai", "unique"):
            raise ValueError(f"{value!r} is no list of names: use openai, unique or a mapping")
        return value

    @model_validator(mode="after")
    def _check_places(self) -> ImageNet:
        if self.root is None and (self.train is None or self.test is None):
            raise ValueError("source: imagenet needs the key root, or train and test (ImageNet's validation images)")
        return self

    def known_labels(self) -> LabelSpace:
        return label_space(self.classes, self.class_names)

    def folder_classes(self) -> FolderClasses:
        """Return the classes that `classes` names, whatever is on the disk."""
        labels = self.known_labels()
        unused = frozenset(wnids()) - set(labels.ids)
        return FolderClasses(labels, labels.ids, unused, imagenet=True)

    def load(self) -> tuple[StudyData, FolderClasses]:
        """Load the study. Warn if a set has other numbers of images than the official one."""
        classes = self.folder_classes()
        train_files, test_files = self._find_train_and_test()
        train = TRAIN.read("train", train_files.list_stored("data.train"), classes, self.same_class)
        test = VALIDATION.read("test", _list_test(test_files), classes, self.same_class)
        return self.study_of(classes, train, test)

    def _find_train_and_test(self) -> tuple[Reader, Reader]:
        train = None if self.train is None else as_reader(self.train, "data.train")
        test = None if self.test is None else as_reader(self.test, "data.test")
        if train is not None and test is not None:
            return train, test
        assert self.root is not None  # see _check_places
        for train_part, test_part in LAYOUTS:
            if any(self.root.glob(train_part)) and any(self.root.glob(test_part)):
                return train or _files(self.root / train_part), test or _files(self.root / test_part)
        tried = ", ".join(f"{train_part} and {test_part}" for train_part, test_part in LAYOUTS)
        raise UserError(f"data.root: {self.root} has none of {tried}: give data.train and data.test instead")


def _files(path: Path) -> Reader:
    return as_reader(ImagesConfig.model_validate({"path": path}))


def _list_test(files: Reader) -> StoredImages:
    """List the validation images. In one flat folder, a file next to it says their classes."""
    if not is_flat(files.path):
        return files.list_stored("data.test")
    listing = list_flat(files.path)
    return StoredImages(files.path, tuple(dict.fromkeys(listing.groups)), listed=listing)
