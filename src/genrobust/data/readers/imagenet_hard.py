"""ImageNet-Hard (Taesiri et al., 2023): images of six sets that no zoomed view makes easy, with one or several labels.

It has no line: it was filtered against classifiers, so that accuracies bend at theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from genrobust.core import ImageSet, UserError
from genrobust.data.classes import FolderClasses
from genrobust.data.file_list import ListedImages
from genrobust.data.imagenet_classes import by_number, wnids
from genrobust.data.imagenet_sets import ANY_OF_SEVERAL, ImageNetReader, accepted_labels
from genrobust.data.stored import open_stored
from genrobust.recipe import READERS

log = logging.getLogger(__name__)

IMAGES = 10_980


@READERS.register("imagenet-hard")
class ImageNetHard(ImageNetReader):
    """ImageNet-Hard (Taesiri et al., 2023), as its parquet files or saved: any label of an image is right."""

    def open(self, name: str, classes: FolderClasses, same_class: Mapping[str, str]) -> Mapping[str, ImageSet]:
        """Open the images that show a class of the study.

        Raises:
            UserError: A label is none of ImageNet's, or no image shows a class of the study.
        """
        self.require_imagenet(name, classes)
        stored = open_stored(self.path)
        ids = {group: [by_number(label, wnids()) for label in group.split()] for group in stored.groups}
        known = {group: [wnid for wnid in several if wnid] for group, several in ids.items()}
        if odd := next((group for group in ids if len(known[group]) < len(ids[group])), None):
            raise UserError(f"{self.path}: the label {odd!r} is none of 0 to 999: it is not imagenet-hard")
        wanted = accepted_labels(self.path, self.kind, known, classes.labels)
        images = ListedImages(name, stored.listing(wanted), wanted, protocol=ANY_OF_SEVERAL)
        if len(classes.labels) == len(wnids()) and len(images) != IMAGES:
            log.warning("%s is not the official %s: %d images instead of %d", self.path, self.kind, len(images), IMAGES)
        return {name: images}
