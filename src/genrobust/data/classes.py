"""The classes of a study, and which class the name of a folder or label means."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from genrobust.core import ClassLabel, LabelSpace, UserError, bare_name, file_name, near_names, perhaps, slug, some_of
from genrobust.data.stored_images import StoredImages


@dataclass(frozen=True)
class FolderClasses:
    """The classes of a study, and which class a folder name means.

    Attributes:
        folders: Names of the training folders, in the order of `labels`.
        unused: Names of folders that mean a class outside the study, if it takes a subset of the classes.
        imagenet: Whether these are classes of ImageNet, named by their WordNet ids.
        used: Keys of `same_class` that `labels_of` has found in a set.
    """

    labels: LabelSpace
    folders: tuple[str, ...]
    unused: frozenset[str] = frozenset()
    imagenet: bool = False
    used: set[str] = field(default_factory=set, compare=False)

    @classmethod
    def from_labels(cls, labels: LabelSpace) -> FolderClasses:
        """Return the classes of `labels`, with their label names as folder names."""
        return cls(labels, labels.label_names)

    def match(self, name: str) -> int | None:
        """Return the label that a folder called `name` means, or None.

        This is the training folder with exactly this name. Otherwise it is the only class whose folder, id or shown
        name differs only in case, spaces, hyphens and underscores.
        """
        label = self._label_of_folder.get(name)
        if label is not None:
            return label
        labels = self._labels_of_bare_name.get(bare_name(name), set())
        return next(iter(labels)) if len(labels) == 1 else None

    def knows(self, name: str) -> bool:
        """Return whether a folder called `name` means a class, of the study or outside of it."""
        return self._is_unused(name) or self.match(name) is not None

    def near(self, name: str) -> list[str]:
        """Return training folders with a similar name, the nearest first."""
        return near_names(name, self.folders)

    def labels_of(
        self, path: Path, groups: Iterable[str], same_class: Mapping[str, str], named: Mapping[str, str]
    ) -> dict[str, tuple[int]]:
        """Return the label of each of the `groups` at `path`. Groups of `unused` classes are left out.

        Args:
            same_class: Training folder that a group, or its name, means; "" to leave the group out.
            named: Names of groups whose class has another name.
        """
        self._check_same_class(same_class)
        labels: dict[str, tuple[int]] = {}
        unknown: list[str] = []
        group_of_label: dict[int, str] = {}  # of groups that `same_class` does not map
        for group in groups:
            name = named.get(group, group)
            keys = {group, name} & same_class.keys()
            self.used.update(keys)
            meant = same_class.get(group, same_class.get(name, name))
            if not meant or self._is_unused(meant):
                continue
            label = self.match(meant)
            if label is None:
                unknown.append(name)
                continue
            labels[group] = (label,)
            other = group if keys else group_of_label.setdefault(label, group)
            if other != group:
                problem = f"the folders {other!r} and {group!r} both mean the class {self.folders[label]!r}"
                raise UserError(f"{path}: {problem}: rename one, or map it in data.same_class")
        if unknown:
            listed = some_of((f"{name}{perhaps(self.near(name))}" for name in unknown), separator="; ")
            then = 'map each to a training folder in data.same_class, or to "" to leave it out'
            raise UserError(f"{path}: these folders mean no class of the training folder: {listed}: {then}")
        return labels

    def _check_same_class(self, same_class: Mapping[str, str]) -> None:
        for name, meant in same_class.items():
            if meant and not self.knows(meant):
                problem = f"no training folder {meant!r}{perhaps(self.near(meant))}"
                if meant == "?":  # as `genrobust init` writes it
                    problem = f'it is still "?"{perhaps(self.near(name))}'
                raise UserError(f'data.same_class: {name}: {problem}; name one, or "" to leave it out')
            if self._label_of_folder.get(name) not in (None, self.match(meant)):
                raise UserError(f"data.same_class: {name} is a training folder: rename it where it means another class")

    def _is_unused(self, name: str) -> bool:
        """Return whether a folder called `name` means a class outside the study."""
        # A class outside may be shown under the name of a training folder.
        if name in self._label_of_folder:
            return False
        if name in self.unused:
            return True
        return bare_name(name) in self._unused_bare_names and self.match(name) is None

    @cached_property
    def _label_of_folder(self) -> dict[str, int]:
        return {folder: label for label, folder in enumerate(self.folders)}

    @cached_property
    def _labels_of_bare_name(self) -> dict[str, set[int]]:
        labels: dict[str, set[int]] = {}
        for names in (self.folders, self.labels.ids, self.labels.names):
            for label, name in enumerate(names):
                labels.setdefault(bare_name(name), set()).add(label)
        return labels

    @cached_property
    def _unused_bare_names(self) -> set[str]:
        return {bare_name(name) for name in self.unused}


def classes_of(train: StoredImages, class_names: Mapping[str, str] | None = None) -> FolderClasses:
    """Return the classes of stored training images, one per folder, sorted by name.

    A class is named after its folder. Tars and parquet files have label names, or label numbers, instead of folders.
    The id of a class is the slug of its name. If two different names have the same slug, such as C and C++, the id has
    a hash. The shown name has spaces for underscores and hyphens.
    """
    folders = train.groups
    given = class_names or {}
    if len(folders) < 2:
        raise UserError(f"data.train: {train.path} has {len(folders)} classes: a classifier needs two or more")
    for folder in given:
        if folder not in folders:
            then = f"{perhaps(near_names(folder, folders))}: name one of {some_of(folders)}, or remove the key"
            raise UserError(f"data.class_names: {train.path} has no folder {folder!r}{then}")
    names = [train.named.get(folder, folder) for folder in folders]
    ids = _ids(names)
    shown = [given.get(folder, _spaced(name)) for folder, name in zip(folders, names, strict=True)]
    _require_unique(train.path, folders, ids, "are two spellings of one name: put them together, or rename one")
    _require_unique(train.path, folders, shown, "have one name in prompts: give one another name in data.class_names")
    labels = [ClassLabel(id, text, text, name) for id, text, name in zip(ids, shown, names, strict=True)]
    return FolderClasses(LabelSpace(tuple(labels)), folders)


def _ids(names: Sequence[str]) -> list[str]:
    """Return the slug of each name. Add a hash if two names share a slug and are not two spellings of one name."""
    slugs = Counter(slug(name) for name in names)
    bare_names = Counter(bare_name(name) for name in names)
    ids = []
    for name in names:
        if slugs[slug(name)] > 1 and bare_names[bare_name(name)] == 1:
            # Readers of shards end the key of an image at a dot.
            ids.append(file_name(name).replace(".", "-"))
        else:
            ids.append(slug(name))
    return ids


def _spaced(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip() or name


def _require_unique(path: Path, folders: Sequence[str], values: Sequence[str], problem: str) -> None:
    """Raise UserError if two classes have the same of the `values`."""
    first: dict[str, str] = {}
    for folder, value in zip(folders, values, strict=True):
        twin = first.setdefault(value, folder)
        if twin != folder:
            raise UserError(f"{path}: the classes {twin!r} and {folder!r} ({value!r}) {problem}")
