"""Published sets with ImageNet's classes: matched by name or number, and compared with the official set."""

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
from genrobust.data.image_kinds import Reader
from genrobust.data.imagenet_classes import wnids
from genrobust.data.imagenet_labels import wordnet_ids
from genrobust.data.listing import ListedImages
from genrobust.data.stored_images import StoredImages, open_stored

log = logging.getLogger(__name__)

# The lines of baseline models are published as numbers, without the table that they are fitted on: the testbed of Taori
# et al. (2020), modestyachts/imagenet-testbed (MIT) at commit 0170eec6, robustness_top1s.csv. The models are those that
# its model_types.csv calls STANDARD: trained on ImageNet alone without an intervention. Models with "aws" or "batch64"
# in their name are left out, as in the testbed's own plots: they are one network trained on fewer images or in smaller
# batches. Every model has the same weight, and accuracies are transformed by the logit. Each model was evaluated with
# its own preparation of images, mostly a center crop of 0.875 and no flip.
LINE_SOURCE = "published standard models of the ImageNet testbed (Taori et al., 2020)"
LINE_CLASSES = 1000  # classes of the accuracies, or classes that theirs are a part of
# Makes a line of LINE_SOURCE for a set without a name yet. These values are those of sets over all classes.
testbed_line = partial(Line, test_set="", transform="logit", n=85, lo=56.52, hi=84.73, center=1.17087)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialSet:
    """A published set of images with classes of ImageNet.

    Attributes:
        kind: Its name in messages.
        wnids: Returns its classes as sorted WordNet ids.
        images: Number of images, if all sets of this kind have the same.
        each: Number of images of each class, if it is the same for all classes.
    """

    kind: str
    wnids: Callable[[], tuple[str, ...]] = wnids
    images: int | None = None
    each: int | None = None

    def read(
        self, name: str, stored: StoredImages, classes: FolderClasses, same_class: Mapping[str, str]
    ) -> ListedImages:
        """Open stored images that have one of `classes`. Warn if they differ from the official set.

        Classes may be named by WordNet id, by number or by name. Numbers go from 0 to 999; in a tar or table of a set
        over 200 classes, also from 0 to 199. `same_class` maps other words to WordNet ids.
        """
        path = stored.path
        labels = classes.labels_of(path, stored.groups, same_class, wordnet_ids(stored, self.wnids()))
        # Check before a million images are listed, and again after.
        self._require_classes(path, classes, {label for (label,) in labels.values()})
        images = ListedImages(name, stored.listing(labels), labels)
        self._require_classes(path, classes, images.labels)
        difference = self._difference(images.labels, classes)
        if difference:
            log.warning("%s is not the official %s: %s; published accuracies are of that", path, self.kind, difference)
        return images

    def _require_classes(self, path: Path, classes: FolderClasses, labels: Collection[int] | np.ndarray) -> None:
        """Raise UserError unless there are images of each class that the study and the official set share."""
        of_set = self.wnids()
        expected = [label for label, wnid in enumerate(classes.labels.ids) if wnid in of_set]
        if not expected:
            total = len(classes.labels)
            raise UserError(f"{path}: {self.kind} shares no class with the {total} of data.classes: leave it out")
        found = {int(label) for label in labels}
        missing = [classes.labels.ids[label] for label in expected if label not in found]
        if missing:
            examples = some_of(f"{wnid} (label {wnids().index(wnid)})" for wnid in missing)
            problem = f"no image of {len(missing)} of the {len(expected)} classes that {self.kind} should hold here"
            raise UserError(f"{path}: {problem}: {examples}: unpack the set again, or leave them out of data.classes")

    def _difference(self, labels: np.ndarray, classes: FolderClasses) -> str:
        """Describe how the numbers of images differ from the official ones. Empty if they do not."""
        if self.each is not None:
            counts = np.bincount(labels, minlength=len(classes.labels)).tolist()
            odd = []
            for wnid, count in zip(classes.labels.ids, counts, strict=True):
                if count != self.each:
                    odd.append(f"{count} of {wnid}")
            if odd:
                return f"{len(odd)} classes have other than {self.each} images ({some_of(odd, 3)})"
            return ""
        has_all_classes = set(self.wnids()) <= set(classes.labels.ids)
        if self.images is None or self.images == len(labels) or not has_all_classes:
            return ""
        return f"{len(labels):,} images instead of {self.images:,}"


class ImageNetReader(Reader):
    """A published set of images with classes of ImageNet."""

    official: ClassVar[OfficialSet]

    def open(self, name: str, classes: FolderClasses, same_class: Mapping[str, str]) -> Mapping[str, ImageSet]:
        self.require_imagenet(name, classes)
        return {name: self.official.read(name, open_stored(self.path), classes, same_class)}

    def require_imagenet(self, name: str, classes: FolderClasses) -> None:
        if not classes.imagenet:
            raise UserError(f"data.shifts.{name}.kind: {self.kind} needs the classes of source: imagenet")
