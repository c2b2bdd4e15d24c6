"""ObjectNet (Barbu et al., 2019): 313 kinds of household objects. The labels of 113 mean ImageNet classes.

Nine of these labels mean several classes. ``map: one-to-many`` counts any of them as correct, and ``map: paper`` only
the first (Bansal and Grover, 2023). The choice changes accuracy a lot.

The line of standard models is objectnet-1.0-beta against val-on-objectnet-classes, both with logits restricted to the
125 ImageNet classes of the labels, where any class of a label is correct. There is none for the paper's map.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from genrobust.core import ImageSet, LabelSpace, Line, UserError, parse_json, reading, some_of
from genrobust.data.classes import FolderClasses
from genrobust.data.imagenet_classes import descriptions, wnids
from genrobust.data.imagenet_sets import ImageNetReader, testbed_line
from genrobust.data.listing import ListedImages, list_folder
from genrobust.data.stored_images import class_folders
from genrobust.recipe import READERS

log = logging.getLogger(__name__)

LABELS = "folder_to_objectnet_label.json"
CLASSES = "objectnet_to_imagenet_1k.json"
OFFICIAL = (313, 50_273)  # folders and images of objectnet-1.0
# Width of the red frame that marks each image, so that nobody trains on it by accident. The official loader cuts it.
BORDER = 2  # px
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
        """Open the images whose label means a class of the study, with the border cut off."""
        self.require_imagenet(name, classes)
        return {name: read_set(name, self.path, classes.labels, self.map or "one-to-many")}

    def line(self) -> Line | None:
        """Return the line of standard models. None for the paper's map."""
        return None if self.map == "paper" else self.baseline


def read_set(name: str, path: Path, labels: LabelSpace, mapping: str) -> ListedImages:
    """Open the images of ObjectNet at `path` whose label means a class of `labels`, by `mapping`."""
    images, mappings = _find_folders(path)
    wanted = _labels_by_folder(classes_of_folders(mappings), labels, mapping)
    if not wanted:
        raise UserError(f"{path}: objectnet shares no class with the {len(labels)} of data.classes: leave it out")
    folders = [folder.name for folder in class_folders(images)]
    listing = list_folder(images, folders)
    missing = sorted(wanted.keys() - set(listing.groups))
    if missing:
        problem = f"no image in {len(missing)} of the {len(wanted)} class folders of these classes: {some_of(missing)}"
        raise UserError(f"{images} has {problem}: unpack objectnet-1.0.zip again")
    if (len(folders), len(listing.keys)) != OFFICIAL:
        counts = f"{len(listing.keys):,} images in {len(folders)} folders instead of {OFFICIAL[1]:,} in {OFFICIAL[0]}"
        log.warning("%s is not the official objectnet: %s; published accuracies are of that", images, counts)
    return ListedImages(name, listing, wanted, border=BORDER, protocol=PROTOCOLS[mapping])


def _labels_by_folder(meaning: Mapping[str, list[str]], labels: LabelSpace, mapping: str) -> dict[str, list[int]]:
    """Return the study's labels that are correct for each folder, for folders that mean a class of the study."""
    found: dict[str, list[int]] = {}
    for folder, ids in meaning.items():
        if mapping == "paper":
            ids = ids[:1]
        correct = [labels.ids.index(id) for id in ids if id in labels.ids]
        if correct:
            found[folder] = correct
    return found


def classes_of_folders(mappings: Path) -> dict[str, list[str]]:
    """Return the WordNet ids that each ObjectNet folder's label means, in the order of the official mapping.

    That mapping names ImageNet classes by their WordNet lemmas, joined by ``; ``. Only "crane" is ambiguous, and no
    ObjectNet label means it.
    """
    id_of_text = {text: wnid for text, wnid in zip(descriptions(), wnids(), strict=True) if text != "crane"}
    with _reading_mapping(mappings / CLASSES) as texts:
        ids_of_label = {label: [id_of_text[text] for text in several.split("; ")] for label, several in texts.items()}
    with _reading_mapping(mappings / LABELS) as labels:
        folder_of = {label: folder for folder, label in labels.items()}
        return {folder_of[label]: ids for label, ids in ids_of_label.items()}


def _find_folders(path: Path) -> tuple[Path, Path]:
    """Return the folders of images and of mappings."""
    images = path / "images" if (path / "images").is_dir() else path
    for mappings in (path / "mappings", path.parent / "mappings"):
        if mappings.is_dir():
            return images, mappings
    raise UserError(f"{path}: ObjectNet's mappings/ is neither in it nor beside it: unpack objectnet-1.0.zip again")


@contextmanager
def _reading_mapping(path: Path) -> Iterator[dict[str, str]]:
    """Yield the content of the mapping at `path`. An error in the block is reported as damage of that file."""
    errors = (ValueError, LookupError, AttributeError, TypeError)
    with reading(f"ObjectNet's mapping {path}", *errors, then="; unpack objectnet-1.0.zip again"):
        yield parse_json(path.read_bytes())
