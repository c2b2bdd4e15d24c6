"""ImageNet-1k (Deng et al., 2009; Russakovsky et al., 2015) as users have it on disk: the source of a study.

Its validation images are the clean test set.
"""

from __future__ import annotations

from pathlib import Path

from genrobust.core import StudyData, UserError
from genrobust.data.folders import read_classes, study_of
from genrobust.data.ground_truth import is_flat, list_flat
from genrobust.data.imagenet_sets import ImageNetSet
from genrobust.data.reader import READERS
from genrobust.data.stored import StoredImages, open_stored
from genrobust.recipe import DataConfig

# Where train and the validation images lie below `root`: as image-net.org's archives unpack, on Kaggle, and in a clone
# of Hugging Face's repository.
LAYOUTS = (
    ("train", "val"),
    ("ILSVRC2012_img_train", "ILSVRC2012_img_val"),
    ("ILSVRC/Data/CLS-LOC/train", "ILSVRC/Data/CLS-LOC/val"),
    ("data/train-*.parquet", "data/val*.parquet"),
)
TRAIN = ImageNetSet(kind="train", images=1_281_167)
VALIDATION = ImageNetSet(kind="validation", each=50)


class ImageNet:
    """Reads ImageNet's images of the classes that a recipe studies: a Source."""

    def load(self, config: DataConfig) -> StudyData:
        """Load the study. A set with other numbers of images than the official one is a warning.

        Raises:
            UserError: A class without images, validation images without a ground truth, folders or labels that mean no
                class.
        """
        classes = read_classes(config)
        train_path, test_path = _train_and_test(config)
        train = TRAIN.read("train", open_stored(train_path), classes, config.same_class)
        return study_of(
            config, classes, train, VALIDATION.read("test", _open_test(test_path), classes, config.same_class)
        )


READERS.register("imagenet")(ImageNet())


def _open_test(path: Path) -> StoredImages:
    if not is_flat(path):
        return open_stored(path)
    listing = list_flat(path)
    return StoredImages(path, tuple(dict.fromkeys(listing.groups)), listed=listing)


def _train_and_test(config: DataConfig) -> tuple[Path, Path]:
    if config.root is None:
        assert config.train is not None and config.test is not None  # the recipe has seen to it
        return config.train, config.test
    for train, test in LAYOUTS:
        if all(any(config.root.glob(part)) for part in (train, test)):
            return config.train or config.root / train, config.test or config.root / test
    if config.train is not None and config.test is not None:
        return config.train, config.test
    tried = ", ".join(f"{train} and {test}" for train, test in LAYOUTS)
    raise UserError(f"data.root: {config.root} has none of {tried}: give data.train and data.test instead")
