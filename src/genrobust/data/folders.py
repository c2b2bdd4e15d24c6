"""Image folders, one subfolder a class, and what holds images like them: the label space that they span."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genrobust.core import ClassLabel, ImageSet, LabelSpace, StudyData, Subset, UserError, slug
from genrobust.data.file_list import ListedImages
from genrobust.data.imagenet_classes import label_space, wnids
from genrobust.data.places import Place, class_folders, open_place
from genrobust.recipe import DataConfig

__all__ = ["FolderClasses", "class_folders", "hold_back", "load", "load_generated", "open_images", "read_classes"]

HELD_BACK = 0.1  # of train, by class, where there is no validation folder
NAMED = 10  # things of a kind that an error names one by one


def load(config: DataConfig) -> StudyData:
    """The study's images from the folders of `config`; the clean test set is called "test".

    Raises UserError that names the folder, file or class: missing, unreadable or empty folders, classes without images,
    empty files, folders that mean no class. Damage inside an image shows when it is decoded.
    """
    train_place = open_place(_train_folder(config))
    classes = read_classes(config, train_place)
    train = open_images("train", train_place, classes)
    for label, name in enumerate(classes.folders):
        if label not in train.labels:
            where = train_place.path / name
            raise UserError(f"the class folder {where} holds no image: add some, or remove the folder")
    if config.test is None:
        raise UserError("data.test: name the folder of the unshifted test set")
    if "test" in config.shifts:
        raise UserError("data.shifts: the name test belongs to the unshifted test set; give this shift another name")

    def open_set(name: str, path: Path) -> ListedImages:
        return open_images(name, open_place(path), classes, config.same_class)

    held = hold_back(train) if config.val is None else (train, open_set("val", config.val))
    shifts = {name: shift.path for name, shift in config.shifts.items()}
    return StudyData(
        labels=classes.labels,
        train=held[0],
        val=held[1],
        tests={name: open_set(name, path) for name, path in {"test": config.test, **shifts}.items()},
        clean="test",
        retrieval=None if config.retrieved is None else open_set("retrieved", config.retrieved),
        extra={name: open_set(name, path) for name, path in config.extra.items()},
    )


def load_generated(config: DataConfig) -> ListedImages | None:
    """The images in the folder `generated` of `config`, in the order of their names; None where it names none."""
    if config.generated is None:
        return None
    return open_images("generated", open_place(config.generated), read_classes(config), config.same_class, by_name=True)


def open_images(
    name: str,
    place: Place,
    classes: FolderClasses,
    same_class: Mapping[str, str] | None = None,
    *,
    by_name: bool = False,
) -> ListedImages:
    """The images at `place` with the labels of `classes`. Raises as `FolderClasses.labels_of` and `ListedImages`."""
    labels = classes.labels_of(place.path, same_class, place.groups)
    known = {group: (label,) for group, label in labels.items() if label is not None}
    return ListedImages(name, place.listing(known), known, by_name=by_name)


@dataclass(frozen=True, slots=True)
class FolderClasses:
    """The classes that a training folder spans: `folders` are the names of its subfolders in the order of `labels`.

    `unused` are folders that have a meaning but no part in the study: those of other classes where it takes a subset.
    """

    labels: LabelSpace
    folders: tuple[str, ...]
    unused: frozenset[str] = frozenset()

    def match(self, name: str, same_class: Mapping[str, str] | None = None) -> int | None:
        """The label that a folder called `name` means, or None.

        First what `same_class` says, then the training folder of the very name, then the only one whose folder, id or
        shown name is the same but for case, spaces, hyphens and underscores.
        """
        name = (same_class or {}).get(name, name)
        if name in self.folders:
            return self.folders.index(name)
        alike = {
            label
            for label, folder in enumerate(self.folders)
            if _plain(name) in {_plain(t) for t in (folder, self.labels.ids[label], self.labels.names[label])}
        }
        return alike.pop() if len(alike) == 1 else None

    def near(self, name: str) -> list[str]:
        """Training folders whose name is like `name`, the nearest first."""
        by_plain = {_plain(folder): folder for folder in self.folders}
        return [by_plain[p] for p in difflib.get_close_matches(_plain(name), by_plain, n=3)]

    def labels_of(
        self, folder: Path, same_class: Mapping[str, str] | None = None, groups: Iterable[str] | None = None
    ) -> dict[str, int | None]:
        """The label of each subfolder of `folder`, or of each of its `groups` where they are known already.

        None stands for those that are `unused`, and where `same_class` gives "", which leaves one out. Raises UserError
        that names the subfolders that mean no class, with what each may have meant.
        """
        same_class = same_class or {}
        for name, meant in same_class.items():
            if meant and meant not in self.unused and self.match(meant) is None:
                what = "no training folder is filled in" if meant == "?" else f"no training folder {meant!r}"
                near = _perhaps(self.near(meant))
                raise UserError(f'data.same_class: {name}: {what}{near}; name one, or "" to leave it out')
        found: dict[str, int | None] = {}
        unknown = []
        for name in [sub.name for sub in class_folders(folder)] if groups is None else groups:
            meant = same_class.get(name, name)
            left_out = not meant or meant in self.unused
            found[name] = None if left_out else self.match(name, same_class)
            if found[name] is None and not left_out:
                unknown.append(name)
        if unknown:
            named = "; ".join(f"{name}{_perhaps(self.near(name))}" for name in unknown[:NAMED])
            more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
            raise UserError(
                f"{folder}: these folders mean no class of the training folder: {named}{more}. Say which class each "
                'means under data.same_class (folder: training folder), or "" to leave it out'
            )
        return found


def read_classes(config: DataConfig, train: Place | None = None) -> FolderClasses:
    """The classes of `config`'s training folder (`train`, where it is open already): its subfolders, sorted by name.

    An id is the slug of the folder's name. `class_names` gives the name shown and prompted; without it, that is the
    folder's name with spaces for underscores and hyphens. Tars, parquet files and saved datasets have the names of
    their labels, or their numbers, for folders. With `source: imagenet`, the classes are those that it names, whatever
    lies on the disk. Raises UserError for fewer than two classes, for two of the same name, and for a key of
    `class_names` that is no folder.
    """
    if config.source == "imagenet":
        labels = label_space(config)
        return FolderClasses(labels, labels.ids, frozenset(wnids()) - set(labels.ids))
    names = (train or open_place(_train_folder(config))).groups
    own = config.class_names if isinstance(config.class_names, dict) else {}
    for name in own:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3)
            raise UserError(f"data.class_names: {config.train} has no folder {name!r}{_perhaps(near)}")
    shown = [own.get(name, re.sub(r"[\s_-]+", " ", name).strip() or name) for name in names]
    labels = LabelSpace(tuple(ClassLabel(slug(n), text, text) for n, text in zip(names, shown, strict=True)))
    return FolderClasses(labels, names)


def _train_folder(config: DataConfig) -> Path:
    if config.train is None:
        raise UserError("data.train: name the folder of training images")
    return config.train


def hold_back(train: ImageSet) -> tuple[Subset, Subset]:
    """Train without, and with only, a tenth of each class, at least one image where a class has two or more.

    Those held back are the first of their class, so that every run, of whatever seed, holds back the same.
    """
    held = np.zeros(len(train), dtype=bool)
    for label in np.unique(train.labels):
        of_class = np.flatnonzero(train.labels == label)  # in hash order: the first are a fair sample
        held[of_class[: min(len(of_class) - 1, max(1, round(HELD_BACK * len(of_class))))]] = True
    if not held.any():
        raise UserError("one image a class leaves none to hold back for validation: add images, or give data.val")
    return Subset(train, np.flatnonzero(~held)), Subset(train, np.flatnonzero(held), "val")


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _perhaps(near: Sequence[str]) -> str:
    return f" (perhaps {' or '.join(near)}?)" if near else ""
