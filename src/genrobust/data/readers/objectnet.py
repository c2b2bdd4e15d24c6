"""ObjectNet (Barbu et al., 2019): 313 kinds of household things, of which 113 are labels that mean ImageNet classes.

Nine of these labels mean several classes. ``map: one-to-many`` takes any of a label's classes for right, and ``map:
paper`` its first alone (Bansal and Grover, 2023): the choice moves accuracy a lot.

Its line: ID column val-on-objectnet-classes; objectnet-1.0-beta. Both with logits restricted to the 125 ImageNet
classes that the labels mean, where any class of a label is right. The paper's map has none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from genrobust.core import ImageSet, LabelSpace, Line, UserError, parse_json, reading, some_of
from genrobust.data.classes import FolderClasses
from genrobust.data.file_list import ListedImages, list_folder
from genrobust.data.imagenet_classes import descriptions, wnids
from genrobust.data.imagenet_sets import ImageNetReader, testbed_line
from genrobust.data.stored import class_folders
from genrobust.recipe import READERS

log = logging.getLogger(__name__)

LABELS = "folder_to_objectnet_label.json"
CLASSES = "objectnet_to_imagenet_1k.json"
OFFICIAL = (313, 50_273)  # folders and images of objectnet-1.0
BORDER = 2  # px: a red frame marks every image, so that it is not trained on by accident; the official loader cuts 2
PROTOCOLS = {
    "one-to-many": f"{BORDER} px border cut off; any of a label's ImageNet classes is right",
    "paper": f"{BORDER} px border cut off; only a label's first ImageNet class is right (Bansal and Grover, 2023)",
}


@READERS.register("objectnet")
class ObjectNet(ImageNetReader):
    """ObjectNet (Barbu et al., 2019): the folder of objectnet-1.0.zip, with images and mappings, or its images.

    `map` chooses which of a label's ImageNet classes are correct: any ("one-to-many"), or the first ("paper": Bansal
    and Grover, 2023).
    """

    map: Literal["one-to-many", "paper"] | None = None  # one-to-many if None
    baseline = testbed_line(
        slope=0.98091, intercept=-1.92829, r2=0.95251, residual_sd=0.08622, lo=56.61, hi=88.30, center=1.33368
    )

    def open(self, name: str, classes: FolderClasses, same_class: Mapping[str, str]) -> Mapping[str, ImageSet]:
        """Open the images whose label means a class of the study, with the border cut off.

        Raises:
            UserError: A mapping is missing or damaged, or folders are missing.
        """
        self.require_imagenet(name, classes)
        return {name: read_set(name, self.path, classes.labels, self.map or "one-to-many")}

    def line(self) -> Line | None:
        """Return the line of standard models; None for the paper's map."""
        return None if self.map == "paper" else self.baseline


def read_set(name: str, path: Path, labels: LabelSpace, mapping: str) -> ListedImages:
    """Read the images of ObjectNet at `path` whose label means a class of `labels`, by `mapping`."""
    images, mappings = _folders(path)
    means = classes_of_folders(mappings)
    ids = means if mapping == "one-to-many" else {folder: several[:1] for folder, several in means.items()}
    rights = {folder: [labels.ids.index(id) for id in several if id in labels.ids] for folder, several in ids.items()}
    wanted = {folder: right for folder, right in rights.items() if right}
    if not wanted:
        raise UserError(f"{path}: objectnet shares no class with the {len(labels)} of data.classes: leave it out")
    folders = [sub.name for sub in class_folders(images)]
    listing = list_folder(images, folders)
    if missing := sorted(wanted.keys() - set(listing.groups)):
        raise UserError(
            f"{images} has no image in {len(missing)} of the {len(wanted)} class folders that ObjectNet shares with "
            f"these classes: {some_of(missing)}. Unpack objectnet-1.0.zip again"
        )
    if (len(folders), len(listing.keys)) != OFFICIAL:
        counts = f"{len(listing.keys):,} images in {len(folders)} folders instead of {OFFICIAL[1]:,} in {OFFICIAL[0]}"
        log.warning("%s is not the official objectnet: %s; published accuracies are of that", images, counts)
    return ListedImages(name, listing, wanted, border=BORDER, protocol=PROTOCOLS[mapping])


def classes_of_folders(mappings: Path) -> dict[str, list[str]]:
    """Return the WordNet ids that each ObjectNet folder's label means, in the order of the official mapping.

    That mapping names ImageNet classes by their WordNet lemmas, joined by ``; ``. Only "crane" would be ambiguous, and
    no ObjectNet label means it.
    """
    by_text = {text: wnid for text, wnid in zip(descriptions(), wnids(), strict=True) if text != "crane"}
    with _mapping(mappings / CLASSES) as texts:
        ids = {label: [by_text[text] for text in several.split("; ")] for label, several in texts.items()}
    with _mapping(mappings / LABELS) as labels:
        folder_of = {label: folder for folder, label in labels.items()}
        return {folder_of[label]: of_label for label, of_label in ids.items()}


def _folders(path: Path) -> tuple[Path, Path]:
    """The folders of images and of mappings."""
    images = path / "images" if (path / "images").is_dir() else path
    for mappings in (path / "mappings", path.parent / "mappings"):
        if mappings.is_dir():
            return images, mappings
    raise UserError(
        f"{path}: ObjectNet's folder mappings/ is neither in it nor beside it; objectnet-1.0.zip holds it, with "
        f"{LABELS} and {CLASSES}: unpack it there"
    )


@contextmanager
def _mapping(path: Path) -> Iterator[dict[str, str]]:
    """Yield what the mapping `path` holds; what the block cannot do with it is an error of that file."""
    errors = (ValueError, LookupError, AttributeError, TypeError)
    with reading(f"ObjectNet's mapping {path}", *errors, then="; unpack objectnet-1.0.zip again"):
        yield parse_json(path.read_bytes())
