"""The kinds of images that a recipe names: how each is listed, and opened with the labels of a study."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from genrobust.core import ImageSet, Line, UserError, some_of
from genrobust.data.classes import FolderClasses
from genrobust.data.imagenet_classes import by_number
from genrobust.data.imagenet_labels import wordnet_ids
from genrobust.data.labeled_images import open_images
from genrobust.data.listing import ListedImages
from genrobust.data.stored_images import StoredImages, open_unlabeled
from genrobust.recipe import ImagesConfig, Place


class Reader(ImagesConfig, ABC):
    """A kind of images at a `path`. The key `kind` names it wherever a recipe names images.

    A kind implements `list_stored`, and then serves for training, validation and test images. A kind that only makes
    sense as a shifted test set implements `open` instead. Accuracies on a shifted set are over its own classes, with
    logits restricted to these, and are paired with the accuracy on the clean images of the same classes.
    """

    # Whether the images are made from test images of the study, such as corrupted ones.
    derived: ClassVar[bool] = False
    # Line of standard models, if one is published.
    baseline: ClassVar[Line | None] = None

    path: Place

    def list_stored(self, key: str) -> StoredImages:
        """List the images with the words for their classes.

        Args:
            key: The key of the recipe that names the images, for messages.

        Raises:
            UserError: A folder or a file is wrong, or this kind serves as a shifted test set only.
        """
        raise UserError(f"{key}.kind: {self.kind} is a kind of shifted test set: name it under data.shifts")

    def list_unlabeled(self, key: str) -> ListedImages:
        """Open the images without their labels: each has the label 0. `key` is as for `list_stored`.

        Raises:
            UserError: A folder or a file is wrong, or there is no image.
        """
        return open_unlabeled(key, self.path)

    def open(self, name: str, classes: FolderClasses, same_class: Mapping[str, str]) -> Mapping[str, ImageSet]:
        """Open the test sets that the shift called `name` stands for, by their names. Most kinds have one.

        Args:
            classes: The classes of the study.
            same_class: Training folder that a folder means, "" to leave the folder out.

        Raises:
            UserError: A folder, a file or a class is wrong; the message names it.
        """
        return {name: self.open_one(name, f"data.shifts.{name}", classes, same_class)}

    def open_one(
        self, name: str, key: str, classes: FolderClasses, same_class: Mapping[str, str], *, by_name: bool = False
    ) -> ListedImages:
        """Open the images as one labeled set called `name`.

        Args:
            key: See `list_stored`.
            by_name: Sort the images by name.

        Raises:
            UserError: See `list_stored` and `open_images`.
        """
        stored = self.list_stored(key)
        if classes.imagenet:
            stored = replace(stored, named=_imagenet_names(stored, classes, same_class))
        return open_images(name, stored, classes, same_class, by_name=by_name)

    def line(self) -> Line | None:
        """Return the baseline line that is published for this set. None if there is none."""
        return self.baseline


class DerivedSets(ImagesConfig, ABC):
    """A kind of shifted test set that is made from another test set of the study, and has no files of its own."""

    @abstractmethod
    def make(self, name: str, tests: Mapping[str, ImageSet], clean: str) -> Mapping[str, ImageSet]:
        """Make the test sets that the shift called `name` stands for, by their names.

        Args:
            tests: The test sets of the study, without the ones that are made from others.
            clean: The name of the unshifted one.

        Raises:
            UserError: A key is wrong.
        """


def published_line(name: str, shift: ImagesConfig) -> Line | None:
    """Return the baseline line that is published for the shift called `name`. None if there is none."""
    if isinstance(shift, DerivedSets):
        return None
    line = as_reader(shift).line()
    return None if line is None else replace(line, test_set=name)


def as_reader(images: ImagesConfig, key: str = "") -> Reader:
    if isinstance(images, DerivedSets):
        raise UserError(f"{key}.kind: {images.kind} are made from test images: name them under data.shifts")
    assert isinstance(images, Reader), f"{type(images)} is registered as a reader and extends none"
    return images


def _imagenet_names(stored: StoredImages, classes: FolderClasses, same_class: Mapping[str, str]) -> Mapping[str, str]:
    """Return the WordNet ids of the groups. Raise UserError if numbers may count other classes than ImageNet's 1,000.

    Numbers may also count the classes that the study takes.
    """
    named = wordnet_ids(stored)
    numbers = [group for group in stored.groups if group.isdecimal() and group not in same_class]
    among_study = {number: by_number(number, classes.labels.ids) for number in numbers}
    if all(among_study.values()) and among_study != {number: named[number] for number in numbers}:
        problem = f"the numbers {some_of(numbers, 3)} may count ImageNet's 1,000 classes or the {len(classes.labels)}"
        raise UserError(f"{stored.path}: {problem} of data.classes: rename them to WordNet ids")
    return named
