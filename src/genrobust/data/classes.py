"""The classes of a study, and how names of folders, or of labels, mean them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from genrobust.core import (
    ClassLabel,
    LabelSpace,
    UserError,
    bare_name,
    file_name,
    near_names,
    perhaps,
    slug,
    some_of,
)
from genrobust.data.stored import StoredImages


@dataclass(frozen=True)
class FolderClasses:
    """The classes of a study, and how the names of folders mean them.

    Attributes:
        folders: The names of their training folders, in the order of `labels`.
        unused: Folders that mean a class outside the study, where it takes a subset.
        imagenet: Whether these are classes of ImageNet's, called by their WordNet ids.
        used: The keys of `same_class` that are groups of a set that `labels_of` was given, which it adds.
    """

    labels: LabelSpace
    folders: tuple[str, ...]
    unused: frozenset[str] = frozenset()
    imagenet: bool = False
    used: set[str] = field(default_factory=set, compare=False)

    @classmethod
    def from_labels(cls, labels: LabelSpace) -> FolderClasses:
        """Return the classes of `labels`, whose label names are the names of their folders."""
        return cls(labels, labels.label_names)

    def match(self, name: str) -> int | None:
        """Return the label that a folder called `name` means, or None.

        That is the training folder of the very name, or else the only one whose folder, id or shown name is the same
        but for case, spaces, hyphens and underscores.
        """
        if (label := self._label_by_folder.get(name)) is not None:
            return label
        alike = self._labels_by_text.get(bare_name(name), set())
        return next(iter(alike)) if len(alike) == 1 else None

    @cached_property
    def _label_by_folder(self) -> dict[str, int]:
        return {folder: label for label, folder in enumerate(self.folders)}

    @cached_property
    def _labels_by_text(self) -> dict[str, set[int]]:
        """The labels that a text, without case, spaces, hyphens and underscores, may mean."""
        labels: dict[str, set[int]] = {}
        for texts in (self.folders, self.labels.ids, self.labels.names):
            for label, text in enumerate(texts):
                labels.setdefault(bare_name(text), set()).add(label)
        return labels

    def knows(self, name: str) -> bool:
        """Return whether a folder called `name` means a class, of the study or outside of it."""
        return self._is_unused(name) or self.match(name) is not None

    def _is_unused(self, name: str) -> bool:
        """Whether a folder called `name` means a class outside the study."""
        if name in self._label_by_folder:  # though a class outside may be shown under this name
            return False
        return name in self.unused or (bare_name(name) in self._unused_texts and self.match(name) is None)

    @cached_property
    def _unused_texts(self) -> set[str]:
        return {*map(bare_name, self.unused)}

    def near(self, name: str) -> list[str]:
        """Return training folders whose name is like `name`, the nearest first."""
        return near_names(name, self.folders)

    def labels_of(
        self, path: Path, groups: Iterable[str], same_class: Mapping[str, str], named: Mapping[str, str]
    ) -> dict[str, tuple[int]]:
        """Return the label of each of the `groups` at `path`, without those of `unused`.

        Args:
            same_class: The training folder that a group, or its name, means; "" to leave it out.
            named: The names of groups that are called otherwise than they are.

        Raises:
            UserError: A group means no class (the message names all such groups, with what each may have meant), two
                groups mean one class, or `same_class` names a folder that is not there, or gives a training folder
                another meaning.
        """
        for name, meant in same_class.items():
            if meant and not self.knows(meant):
                problem = 'it is still "?"' if meant == "?" else f"no training folder {meant!r}"
                near = perhaps(self.near(name if meant == "?" else meant))
                raise UserError(f'data.same_class: {name}: {problem}{near}; name one, or "" to leave it out')
            if self._label_by_folder.get(name) not in (None, self.match(meant)):
                raise UserError(
                    f"data.same_class: {name} is a training folder, and would be something else in all other sets, the "
                    "unshifted test images too: rename it in the set where it is, or choose among data.classes"
                )
        labels: dict[str, tuple[int]] = {}
        unknown, by_itself = [], dict[int, str]()
        for name in groups:
            called = named.get(name, name)
            self.used.update({name, called} & same_class.keys())
            meant = same_class.get(name, same_class.get(called, called))
            if not meant or self._is_unused(meant):
                continue
            label = self.match(meant)
            if label is None:
                unknown.append(called)
                continue
            labels[name] = (label,)
            other = name if {name, called} & same_class.keys() else by_itself.setdefault(label, name)
            if other != name:
                problem = f"the folders {other!r} and {name!r} both mean the class {self.folders[label]!r}"
                raise UserError(f"{path}: {problem}: rename one, or say what it means under data.same_class")
        if unknown:
            listed = some_of((f"{name}{perhaps(self.near(name))}" for name in unknown), separator="; ")
            raise UserError(
                f"{path}: these folders mean no class of the training folder: {listed}. Say which class each "
                'means under data.same_class (folder: training folder), or "" to leave it out'
            )
        return labels


def classes_of(train: StoredImages, class_names: Mapping[str, str] | None = None) -> FolderClasses:
    """Return the classes of stored training images: their folders, by name.

    A class is called like its folder. Tars and parquet files have the names of their labels, or their
    numbers, for folders. An id is the slug of that name, and a hash
    where two share a slug and are no two spellings of one name, such as C and C++. `class_names` gives the name shown
    and prompted; without it, that is what the class is called, with spaces for underscores and hyphens.

    Raises:
        UserError: Fewer than two classes, two of the same name, or a key of `class_names` that is no folder.
    """
    names, given = train.groups, class_names or {}
    if len(names) < 2:
        raise UserError(
            f"data.train: {train.path} holds images of {len(names)} classes: a classifier needs two or more"
        )
    for name in given:
        if name not in names:
            known = f"{perhaps(near_names(name, names))}: name one of {some_of(names)}, or remove the key"
            raise UserError(f"data.class_names: {train.path} has no folder {name!r}{known}")
    called = [train.named.get(name, name) for name in names]
    shown = [given.get(n, re.sub(r"[\s_-]+", " ", c).strip() or c) for n, c in zip(names, called, strict=True)]
    slugs, texts = (Counter(map(key, called)) for key in (slug, bare_name))
    shares = [slugs[slug(name)] > 1 and texts[bare_name(name)] == 1 for name in called]  # two spellings are refused
    # Without a dot, at which readers of shards end the key of an image.
    ids = [file_name(n).replace(".", "-") if does else slug(n) for n, does in zip(called, shares, strict=True)]
    _require_unique(train.path, names, ids, "are two spellings of one name: put them together, or rename one")
    _require_unique(train.path, names, shown, "have one name in prompts: give one another name in data.class_names")
    labels = (ClassLabel(id, text, text, name) for id, text, name in zip(ids, shown, called, strict=True))
    return FolderClasses(LabelSpace(tuple(labels)), names)


def _require_unique(path: Path, names: Sequence[str], values: Sequence[str], problem: str) -> None:
    """Raise UserError where two of the classes `names` have the same of the `values`."""
    first: dict[str, str] = {}
    for name, value in zip(names, values, strict=True):
        if (twin := first.setdefault(value, name)) != name:
            raise UserError(f"{path}: the classes {twin!r} and {name!r} ({value!r}) {problem}")
