"""Image sets of WILDS (Koh et al., 2021) as its package unpacks them, with their official splits."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from genrobust.core import StudyData, UserError, plain_number, read_csv, some_of
from genrobust.data.classes import FolderClasses, classes_of
from genrobust.data.file_list import ListedImages
from genrobust.data.imagenet_classes import by_number
from genrobust.data.path_tables import list_rows
from genrobust.data.reader import DataSource
from genrobust.data.stored import StoredImages
from genrobust.recipe import SOURCES, Place

TABLE = "metadata.csv"
SPLITS = ("train", "id_val", "id_test", "val", "test")
OTHER_HOSPITALS = {1: "val", 2: "test"}  # of camelyon17, by center: no training image is from these


class Wilds(DataSource):
    """A set of WILDS with its official split, in `root`, the folder that holds metadata.csv.

    Checkpoints are chosen on WILDS' validation images from the domains of training (`id_val`); the unshifted test set
    `id_test` is from these, too. The shifted test set is called `ood_test`, and WILDS' validation images from other
    domains are a shifted validation set. `class_names` maps a label to the name that is shown and used in prompts.
    """

    columns: ClassVar[tuple[str, ...]]  # of metadata.csv, which are read

    root: Place
    class_names: dict[str, str] = Field(default_factory=dict)

    @abstractmethod
    def entry_of(self, row: Mapping[str, str]) -> tuple[str, str, int]:
        """Return the path, the split and the label of an image from its row.

        Raises:
            ValueError: A cell holds no known value; the message names the column and the cell.
        """

    def names_of_classes(self) -> Mapping[str, str]:
        """Return the names of classes that the set has, by label."""
        return {}

    def load(self) -> tuple[StudyData, FolderClasses]:
        """Load the study.

        Raises:
            UserError: The table or one of its columns is missing, a cell holds no known value, a split has no image, a
                class has no training image, or a file that the table names is missing.
        """
        table = self.root / TABLE
        _, header = next(read_csv(table, "data.root"), (1, []))
        if missing := [column for column in self.columns if column not in header]:
            raise UserError(f"{table} has no column {missing[0]!r}, and is not of {self.source}: name another root")

        def in_group(row: Mapping[str, str]) -> tuple[str, str]:
            path, split, label = self.entry_of(row)
            return path, f"{split}/{label}"

        listing = list_rows(table, in_group)
        labels: dict[str, set[str]] = {split: set() for split in SPLITS}
        for group in {*listing.groups}:
            split, _, label = group.partition("/")
            labels[split].add(label)
        if empty := [split for split in SPLITS if not labels[split]]:
            problem = f"has no image of the split {empty[0]}, and a study needs some of each of {', '.join(SPLITS)}"
            raise UserError(f"data.root: {table} {problem}: unpack the set again, or name another root")
        numbers = sorted(set.union(*labels.values()), key=int)
        if untrained := [number for number in numbers if number not in labels["train"]]:
            problem = f"has images of the classes {some_of(untrained)}, and none in the split train"
            raise UserError(f"data.root: {table} {problem}: add some, or remove the lines of these classes")
        names = {label: name for label, name in self.names_of_classes().items() if label in numbers}
        classes = classes_of(StoredImages(table, tuple(numbers)), names | self.class_names)

        def images(split: str, name: str) -> ListedImages:
            return ListedImages(name, listing, {f"{split}/{number}": (k,) for k, number in enumerate(numbers)})

        tests = {"id_test": images("id_test", "id_test"), "ood_test": images("test", "ood_test")}
        train, val, shifted = images("train", "train"), images("id_val", "val"), images("val", "ood_val")
        return StudyData(classes.labels, train, val, dict(tests), "id_test", shifted_val=shifted), classes


def number_in(row: Mapping[str, str], column: str, end: int = 10**9) -> int:
    """Return the number in a column.

    Raises:
        ValueError: It is none from 0 to `end`, without that.
    """
    number = by_number(plain_number(row[column]), range(end))
    if number is None:
        raise ValueError(f"{column} is {row[column]!a}, and must be a whole number from 0 to {end - 1:,}")
    return number


@SOURCES.register("iwildcam")
class IWildCam(Wilds):
    """iWildCam of WILDS 2.0: 182 classes of animals; the shift is to camera traps that no training image is from.

    WILDS ranks by macro F1; its average accuracies are those to compare with.
    """

    columns = ("filename", "split", "y", "location_remapped")

    def entry_of(self, row: Mapping[str, str]) -> tuple[str, str, int]:
        if (split := row["split"]) not in SPLITS:
            raise ValueError(f"split is {split!a}, and must be one of {', '.join(SPLITS)}")
        return f"train/{row['filename']}", split, number_in(row, "y", 182)  # the files of all splits lie there

    def names_of_classes(self) -> Mapping[str, str]:
        table = self.root / "categories.csv"
        if not table.exists():
            return {}
        (_, header), *rows = read_csv(table, "data.root")
        if not {"y", "name"} <= {*header}:
            return {}
        return {plain_number(row[header.index("y")]): row[header.index("name")] for _, row in rows}


@SOURCES.register("camelyon17")
class Camelyon17(Wilds):
    """Camelyon17 of WILDS: patches of lymph nodes, with or without a tumor; the shift is to a hospital.

    WILDS has no test images of the training hospitals: half of its `id_val`, by a hash of the names, is `id_test`. Its
    accuracies on the test hospital are comparable.
    """

    columns = ("patient", "node", "x_coord", "y_coord", "tumor", "center", "split", "slide")

    def entry_of(self, row: Mapping[str, str]) -> tuple[str, str, int]:
        slide = f"patient_{number_in(row, 'patient'):03d}_node_{number_in(row, 'node')}"
        path = f"patches/{slide}/patch_{slide}_x_{number_in(row, 'x_coord')}_y_{number_in(row, 'y_coord')}.png"
        tumor, center, split = number_in(row, "tumor", 2), number_in(row, "center", 5), number_in(row, "split", 2)
        if center in OTHER_HOSPITALS:
            return path, OTHER_HOSPITALS[center], tumor
        if split == 0:
            return path, "train", tumor
        return path, ("id_val", "id_test")[hashlib.sha256(path.encode()).digest()[0] % 2], tumor

    def names_of_classes(self) -> Mapping[str, str]:
        return {"0": "lymph node tissue", "1": "lymph node tissue with a tumor"}
