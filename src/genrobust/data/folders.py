"""Images in class folders, and in what holds images like them: the classes that they span, and a study of them."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from genrobust.core import (
    ClassLabel,
    ImageSet,
    LabelSpace,
    StudyData,
    Subset,
    UserError,
    bare_name,
    fair_order,
    file_name,
    slug,
)
from genrobust.data.file_list import ListedImages
from genrobust.data.imagenet_classes import label_space, wnids
from genrobust.data.reader import read_shift
from genrobust.data.stored import StoredImages, open_stored
from genrobust.recipe import DataConfig, ShiftConfig

NAMED = 10  # things of a kind that an error names one by one


@dataclass(frozen=True)
class FolderClasses:
    """The classes of a study, and how the names of folders mean them.

    Attributes:
        folders: The names of their training folders, in the order of `labels`.
        unused: Folders that mean a class outside the study, where it takes a subset.
        imagenet: Whether these are classes of ImageNet's, called by their WordNet ids.
    """

    labels: LabelSpace
    folders: tuple[str, ...]
    unused: frozenset[str] = frozenset()
    imagenet: bool = False

    def match(self, name: str) -> int | None:
        """Return the label that a folder called `name` means, or None.

        That is the training folder of the very name, or else the only one whose folder, id or shown name is the same
        but for case, spaces, hyphens and underscores.
        """
        if (label := self._by_folder.get(name)) is not None:
            return label
        alike = self._by_text.get(bare_name(name), set())
        return next(iter(alike)) if len(alike) == 1 else None

    @cached_property
    def _by_folder(self) -> dict[str, int]:
        return {folder: label for label, folder in enumerate(self.folders)}

    @cached_property
    def _by_text(self) -> dict[str, set[int]]:
        """The labels that a text, without case, spaces, hyphens and underscores, may mean."""
        found: dict[str, set[int]] = {}
        for texts in (self.folders, self.labels.ids, self.labels.names):
            for label, text in enumerate(texts):
                found.setdefault(bare_name(text), set()).add(label)
        return found

    def near(self, name: str) -> list[str]:
        """Return training folders whose name is like `name`, the nearest first."""
        by_bare_name = {bare_name(folder): folder for folder in self.folders}
        return [by_bare_name[p] for p in difflib.get_close_matches(bare_name(name), by_bare_name, n=3)]

    def labels_of(self, path: Path, groups: Iterable[str], same_class: Mapping[str, str]) -> dict[str, tuple[int]]:
        """Return the label of each of the `groups` at `path`, without those of `unused`.

        `same_class` names the training folder that a group means, or "" to leave it out.

        Raises:
            UserError: A group means no class (the message names all such groups, with what each may have meant), two
                groups mean one class, or `same_class` names a folder that is not there.
        """
        for name, meant in same_class.items():
            if meant and meant not in self.unused and self.match(meant) is None:
                what = 'it is still "?"' if meant == "?" else f"no training folder {meant!r}"
                near = _perhaps(self.near(name if meant == "?" else meant))
                raise UserError(f'data.same_class: {name}: {what}{near}; name one, or "" to leave it out')
        labels: dict[str, tuple[int]] = {}
        unknown, by_itself = [], dict[int, str]()
        for name in groups:
            meant = same_class.get(name, name)
            if not meant or meant in self.unused:
                continue
            label = self.match(meant)
            if label is None:
                unknown.append(name)
                continue
            labels[name] = (label,)
            other = name if name in same_class else by_itself.setdefault(label, name)
            if other != name:
                what = f"the folders {other!r} and {name!r} both mean the class {self.folders[label]!r}"
                raise UserError(f"{path}: {what}: rename one, or say what it means under data.same_class")
        if unknown:
            named = "; ".join(f"{name}{_perhaps(self.near(name))}" for name in unknown[:NAMED])
            more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
            raise UserError(
                f"{path}: these folders mean no class of the training folder: {named}{more}. Say which class each "
                'means under data.same_class (folder: training folder), or "" to leave it out'
            )
        return labels


def read_classes(config: DataConfig, train: StoredImages | None = None) -> FolderClasses:
    """Return the classes of `config`'s training folder (`train`, where it is open already): its subfolders, by name.

    An id is the slug of the folder's name, and a hash where two folders share a slug and are no two spellings of one
    name, such as C and C++. `class_names` gives the name shown and prompted; without it, that is the folder's name with
    spaces for underscores and hyphens. Tars, parquet files and saved datasets have the names of their labels, or their
    numbers, for folders. With `source: imagenet`, the classes are those that it names, whatever lies on the disk.

    Raises:
        UserError: Fewer than two classes, two of the same name, or a key of `class_names` that is no folder.
    """
    if config.source == "imagenet":
        labels = label_space(config)
        return FolderClasses(labels, labels.ids, frozenset(wnids()) - set(labels.ids), imagenet=True)
    names = (train or open_stored(train_folder(config))).groups
    if len(names) < 2:
        raise UserError(
            f"data.train: {config.train} holds images of {len(names)} classes: a classifier needs two or more"
        )
    own = config.class_names if isinstance(config.class_names, dict) else {}
    for name in own:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3)
            raise UserError(f"data.class_names: {config.train} has no folder {name!r}{_perhaps(near)}")
    shown = [own.get(name, re.sub(r"[\s_-]+", " ", name).strip() or name) for name in names]
    slugs, texts = (Counter(map(of, names)) for of in (slug, bare_name))
    shares = [slugs[slug(name)] > 1 and texts[bare_name(name)] == 1 for name in names]  # two spellings are refused
    ids = [file_name(name) if does else slug(name) for name, does in zip(names, shares, strict=True)]
    labels = LabelSpace(tuple(ClassLabel(id, text, text) for id, text in zip(ids, shown, strict=True)))
    return FolderClasses(labels, names)


def train_folder(config: DataConfig) -> Path:
    """Return the folder of training images.

    Raises:
        UserError: `config` names none.
    """
    if config.train is None:
        raise UserError("data.train: name the folder of training images")
    return config.train


def open_images(
    name: str,
    stored: StoredImages,
    classes: FolderClasses,
    same_class: Mapping[str, str] | None = None,
    *,
    by_name: bool = False,
) -> ListedImages:
    """Return stored images with the labels of `classes`.

    Raises:
        UserError: A group means no class, two groups mean the same class, or no image is left.
    """
    labels = classes.labels_of(stored.path, stored.groups, same_class or {})
    if stored.groups and not labels:
        some = f"{', '.join(stored.groups[:3])}{' ...' if len(stored.groups) > 3 else ''}"
        raise UserError(
            f"{name}: {stored.path} has no training class, only {some}: say which they are in data.same_class"
        )
    return ListedImages(name, stored.listing(labels), labels, by_name=by_name)


def load_generated(config: DataConfig) -> ListedImages | None:
    """Load the images in the folder `generated` of `config`, in the order of their names; None where it names none."""
    if config.generated is None:
        return None
    classes = read_classes(config)
    return open_images("generated", open_stored(config.generated), classes, config.same_class, by_name=True)


def study_of(config: DataConfig, classes: FolderClasses, train: ImageSet, test: ImageSet) -> StudyData:
    """Put a study together: `train`, the clean `test`, and what else `config` names.

    Without `val`, the share `held_out` of each class of `train` is held back to choose checkpoints.

    Raises:
        UserError: Two test sets have the same name, or a shift cannot be opened.
    """

    def folder(name: str, path: Path) -> ImageSet:
        return read_shift(name, ShiftConfig(path=path), classes, config.same_class)[name]

    tests = {"test": test}
    for name, shift in config.shifts.items():
        for full_name, images in read_shift(name, shift, classes, config.same_class).items():
            if full_name in tests:
                raise UserError(f"data.shifts: two test sets are called {full_name!r}: rename one")
            tests[full_name] = images
    held = hold_back(train, config.held_out) if config.val is None else (train, folder("val", config.val))
    return StudyData(
        labels=classes.labels,
        train=held[0],
        val=held[1],
        tests=tests,
        clean="test",
        retrieval=None if config.retrieved.path is None else folder("retrieved", config.retrieved.path),
        extra={name: folder(name, path) for name, path in config.extra.items()},
    )


def hold_back(train: ImageSet, share: float) -> tuple[ImageSet, Subset]:
    """Split off a share of each class, at least one image where a class has two or more; of a share of 0, none.

    Those held back are the first of their class in a fair order, so that every run, of whatever seed, holds back the
    same. Returns train without them, and them.
    """
    if share == 0:
        return train, Subset(train, (), "val")
    held, order = np.zeros(len(train), dtype=bool), fair_order(train)
    by_class = order[np.argsort(train.labels[order], kind="stable")]
    for of_class in np.split(by_class, np.flatnonzero(np.diff(train.labels[by_class])) + 1):
        held[of_class[: held_out(len(of_class), share)]] = True
    if not held.any():
        raise UserError("one image a class leaves none to hold back for validation: add images, or give data.val")
    return Subset(train, np.flatnonzero(~held)), Subset(train, np.flatnonzero(held), "val")


def held_out(images: int, share: float) -> int:
    """Return how many of the `images` of a class `hold_back` holds back."""
    return min(images - 1, max(1, round(share * images)))


def _perhaps(near: Sequence[str]) -> str:
    return f" (perhaps {' or '.join(near)}?)" if near else ""
