"""Image folders, one subfolder a class: the label space that they span, and their images."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from genrobust.config import DataConfig
from genrobust.data import ClassLabel, LabelSpace, StudyData, Subset, digest, slug
from genrobust.errors import UserError
from genrobust.sources.reading import FORMATS, image_files, read_image

HELD_BACK = 0.1  # of train, by class, where there is no validation folder


class FolderImages:
    """The images of a folder with one subfolder a class, listed at once and decoded when asked for.

    A key is the path below the folder, with ``/``. Order is that of a hash of the keys, so that the first n of a class
    are a fair sample; `by_name` keeps the order of names instead, for sets whose names count upwards. The fingerprint
    covers paths, sizes, times of change and labels. `left_out` counts the images in folders mapped to no class.
    """

    def __init__(
        self, name: str, folder: Path, label_of: Mapping[str, int | None], *, by_name: bool = False
    ) -> None:
        self.name = name
        self._folder = folder
        rows: list[tuple[str, int, int, int]] = []
        self.left_out = 0
        for class_folder in class_folders(folder):
            label = label_of[class_folder.name]
            if label is None:
                self.left_out += sum(1 for _ in image_files(class_folder))
                continue
            rows += [(*row, label) for row in _listed(folder, class_folder)]
        rows.sort(key=lambda row: row[0] if by_name else hashlib.sha256(row[0].encode(errors="surrogateescape")).hexdigest())
        if not rows:
            raise UserError(f"{folder} holds no image of a known class ({', '.join(sorted(FORMATS))})")
        self.keys: Sequence[str] = [row[0] for row in rows]
        self.labels = np.array([row[3] for row in rows], dtype=np.int64)
        self.styles: Sequence[str] = [""] * len(rows)
        self.fingerprint = digest([[repr(row[0]), *row[1:]] for row in rows])

    def __len__(self) -> int:
        return len(self.keys)

    def image(self, index: int) -> Image.Image:
        return read_image(self._folder / self.keys[index])


def load(config: DataConfig) -> StudyData:
    """The study's images from the folders of `config`.

    The classes are the subfolders of `train`, sorted by name. A folder of another set means the class of the same name
    (case, spaces, hyphens and underscores aside) or what `same_class` says; "" there leaves it out. Raises UserError
    for a folder that is missing, unreadable or empty, a class without images, an empty file, and a folder that means no
    class.
    """
    if config.train is None or config.test is None:
        raise UserError("data: source: folders needs the keys train and test")
    classes = Classes.of(config)
    train = FolderImages("train", config.train, classes.mapping(config.train, {}))
    _require_every_class(train, classes, config.train)
    if config.val is None:
        train_set, val_set = _hold_back(train)
    else:
        train_set, val_set = train, classes.open("val", config.val, config.same_class)
    if "test" in config.shifts:
        raise UserError("data.shifts: the name test is taken by the unshifted test set; give the shift another")
    tests = {"test": classes.open("test", config.test, config.same_class)}
    tests |= {name: classes.open(name, folder, config.same_class) for name, folder in config.shifts.items()}
    retrieved = config.retrieved and classes.open("retrieved", config.retrieved, config.same_class)
    return StudyData(classes.labels, train_set, val_set, dict(tests), "test", retrieved or None)


def load_generated(config: DataConfig) -> FolderImages | None:
    """The images in the folder `generated` of `config`, in the order of their names; None where it names none."""
    if config.generated is None:
        return None
    return Classes.of(config).open("generated", config.generated, config.same_class, by_name=True)
