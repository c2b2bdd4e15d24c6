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
from genrobust.data.imagenet_classes import label_space, wnids
from genrobust.data.imagenet_sets import OfficialSet
from genrobust.data.readers.folders import FolderSource
from genrobust.data.stored import StoredImages, open_stored
from genrobust.recipe import SOURCES, Place

# Where train and the validation images lie below `root`: as image-net.org's archives unpack, on Kaggle, and in a clone
# of Hugging Face's repository.
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

    Beside lists of WordNet ids or labels, `classes` takes "imagenet100", that of Bansal and Grover (2023).
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
            raise ValueError(
                "source: imagenet needs the key root, or train and test; test is the folder of ImageNet's "
                "validation images, and val, if given, holds other images to choose a checkpoint by"
            )
        return self

    def known_labels(self) -> LabelSpace:
        return label_space(self.classes, self.class_names)

    def folder_classes(self) -> FolderClasses:
        """Return the classes that `classes` names, whatever lies on the disk."""
        labels = self.known_labels()
        return FolderClasses(labels, labels.ids, frozenset(wnids()) - set(labels.ids), imagenet=True)

    def load(self) -> tuple[StudyData, FolderClasses]:
        """Load the study. A set with other numbers of images than the official one is a warning.

        Raises:
            UserError: A class without images, validation images without a ground truth, folders or labels that mean no
                class.
        """
        classes = self.folder_classes()
        train_path, test_path = self._train_and_test()
        train = TRAIN.read("train", open_stored(train_path), classes, self.same_class)
        return self.study_of(classes, train, VALIDATION.read("test", _open_test(test_path), classes, self.same_class))

    def _train_and_test(self) -> tuple[Path, Path]:
        if self.root is not None:
            for train, test in LAYOUTS:
                if all(any(self.root.glob(part)) for part in (train, test)):
                    return self.train or self.root / train, self.test or self.root / test
        if self.train is not None and self.test is not None:
            return self.train, self.test
        tried = ", ".join(f"{train} and {test}" for train, test in LAYOUTS)
        raise UserError(f"data.root: {self.root} has none of {tried}: give data.train and data.test instead")


def _open_test(path: Path) -> StoredImages:
    if not is_flat(path):
        return open_stored(path)
    listing = list_flat(path)
    return StoredImages(path, tuple(dict.fromkeys(listing.groups)), listed=listing)
