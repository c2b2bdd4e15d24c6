"""Sets of images with ImageNet's classes: matched by name or number, and checked against the official ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from genrobust.core import ImageSet, Line, UserError, some_of
from genrobust.data.classes import FolderClasses
from genrobust.data.file_list import ListedImages
from genrobust.data.imagenet_classes import by_number, descriptions, wnids
from genrobust.data.reader import Reader
from genrobust.data.stored import StoredImages, open_stored

log = logging.getLogger(__name__)

# What the lines of baseline models are fitted on, as numbers, no table: the testbed of Taori et al. (2020),
# modestyachts/imagenet-testbed (MIT) at commit 0170eec6, robustness_top1s.csv: the models that its model_types.csv
# calls STANDARD, trained on ImageNet alone without an intervention, less those whose name holds "aws" or "batch64" (one
# network trained again on fewer images or in smaller batches), as its own plots leave them out. Every model has the
# same weight; accuracies are transformed by the logit. Each model was evaluated with its own preparation of images,
# mostly a center crop of 0.875 and no flip.
LINE_SOURCE = "published standard models of the ImageNet testbed (Taori et al., 2020)"
LINE_CLASSES = 1000  # that the accuracies are over, or that their classes are a part of
# Makes a line of LINE_SOURCE, whose set has no name yet; these values are those of sets over all classes.
testbed_line = partial(Line, test_set="", transform="logit", n=85, lo=56.52, hi=84.73, center=1.17087)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialSet:
    """A published set of images with classes of ImageNet's.

    Attributes:
        kind: Its name in messages.
        wnids: The classes that it is over, as sorted WordNet ids.
        images: How many the official set holds.
        each: How many the official set holds of each class.
    """

    kind: str
    wnids: Callable[[], tuple[str, ...]] = wnids
    images: int | None = None
    each: int | None = None

    def read(
        self, name: str, stored: StoredImages, classes: FolderClasses, same_class: Mapping[str, str]
    ) -> ListedImages:
        """Read stored images that have one of `classes`, and warn where they are other than the official set's.

        Classes may be named by WordNet id, by number (0 to 999; of a set over 200 in tars or tables also 0 to 199) or
        by their names; `same_class` maps others to WordNet ids.

        Raises:
            UserError: A class of the study that the set should hold is missing, or a name means no class.
        """
        path = stored.path
        labels = classes.labels_of(path, stored.groups, same_class, wordnet_ids(stored, self.wnids()))
        self._require_classes(path, classes, {label for (label,) in labels.values()})  # before a million are listed
        images = ListedImages(name, stored.listing(labels), labels)
        self._require_classes(path, classes, images.labels)
        if odd := self._odd_numbers(images.labels, classes):
            log.warning("%s is not the official %s: %s; published accuracies are of that", path, self.kind, odd)
        return images

    def _require_classes(self, path: Path, classes: FolderClasses, labels: Collection[int] | np.ndarray) -> None:
        expected = [label for label, wnid in enumerate(classes.labels.ids) if wnid in self.wnids()]
        missing = [classes.labels.ids[label] for label in sorted({*expected} - {*map(int, labels)})]
        if not expected:
            raise UserError(
                f"{path}: {self.kind} shares no class with the {len(classes.labels)} of data.classes: leave it out"
            )
        if missing:
            examples = some_of(f"{wnid} (label {wnids().index(wnid)})" for wnid in missing)
            raise UserError(
                f"{path}: no image of {len(missing)} of the {len(expected)} classes that {self.kind} should hold here: "
                f"{examples}. Unpack the set again, or leave these classes out with data.classes"
            )

    def _odd_numbers(self, labels: np.ndarray, classes: FolderClasses) -> str:
        """How the numbers of images differ from the official ones, in words; "" where they do not."""
        counts = np.bincount(labels, minlength=len(classes.labels)).tolist()
        if self.each is not None:
            odd = [f"{n} of {wnid}" for wnid, n in zip(classes.labels.ids, counts, strict=True) if n != self.each]
            return f"{len(odd)} classes have other than {self.each} images ({some_of(odd, 3)})" if odd else ""
        if self.images in (None, len(labels)) or not set(self.wnids()) <= set(classes.labels.ids):
            return ""
        return f"{len(labels):,} images instead of {self.images:,}"


class ImageNetReader(Reader):
    """Reads a published set of images with classes of ImageNet's."""

    official: ClassVar[OfficialSet]

    def open(self, name: str, classes: FolderClasses, same_class: Mapping[str, str]) -> Mapping[str, ImageSet]:
        """Open the set at `path`.

        Raises:
            UserError: The study's classes are not ImageNet's, a class that the set should hold is missing, or a name
                means no class.
        """
        self.require_imagenet(name, classes)
        return {name: self.official.read(name, open_stored(self.path), classes, same_class)}

    def require_imagenet(self, name: str, classes: FolderClasses) -> None:
        """Raise UserError where a study's classes are not ImageNet's."""
        if not classes.imagenet:
            raise UserError(f"data.shifts.{name}.kind: {self.kind} needs the classes of source: imagenet")


def wordnet_ids(stored: StoredImages, official: tuple[str, ...] | None = None) -> dict[str, str]:
    """Return the WordNet id of each group of `stored` that is one, is a number, or is a name of ImageNet's own.

    Numbers count `official`, the ids that the set is over, where none is beyond these, else all 1,000.
    """
    if len(stored.label_names) == len(wnids()) and not set(stored.label_names) & set(wnids()):
        _refuse_another_order(stored)
        return dict(zip(stored.label_names, wnids(), strict=True))
    numbers = [int(group) for group in stored.groups if group.isdecimal()]
    ids = official if official and numbers and max(numbers) < len(official) else wnids()
    named: dict[str, str] = {}
    for wnid, text in zip(wnids(), descriptions(), strict=True):
        named[text] = "" if text in named else wnid  # two are "crane"
    known = set(wnids())
    wnid_of = {g: g if g in known else by_number(g, ids) or named.get(g, "") for g in stored.groups}
    return {group: wnid for group, wnid in wnid_of.items() if wnid}


def _refuse_another_order(stored: StoredImages) -> None:
    """Labels with 1,000 names of their own are taken in order, if the names are in that order."""
    first = [text.split(",")[0].casefold() for text in descriptions()]
    alike = sum(name.split(",")[0].casefold() == f for name, f in zip(stored.label_names, first, strict=True))
    if alike < 0.9 * len(first):  # names differ here and there, such as crane and crane2
        raise UserError(
            f"{stored.path}: only {alike} of its 1,000 label names are ImageNet's at that label, such as "
            f"{stored.label_names[0]!r} for {descriptions()[0]!r}: name the labels by WordNet id and save the set again"
        )
