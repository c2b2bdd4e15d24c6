"""Makes the section `data` of a recipe from the folders that a user names, and loads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core import REAL, ImageSet, StudyData, UserError, count, some_of
from genrobust.data import (
    DataSource,
    FolderClasses,
    as_written,
    by_style,
    classes_of,
    domains_in,
    load_data,
    open_stored,
    readable_names,
    require_there,
)
from genrobust.recipe import SOURCES, parse_recipe

NAMED = 8  # classes and the like, in a line


@dataclass(frozen=True)
class Found:
    """The images that the user named.

    Attributes:
        section: The section `data` of a recipe, with paths from the current folder.
        class_names: The readable name of each class folder.
        unknown: Folders that mean no class, each with the class folders that it may mean.
        doubt: Why the class folders may be none; "" where nothing says so.
    """

    section: dict[str, Any]
    class_names: Mapping[str, str]
    unknown: Mapping[str, Sequence[str]]
    data: StudyData
    doubt: str = ""

    def counts(self, images: ImageSet) -> np.ndarray:
        """The number of images by class, int [K]."""
        return np.bincount(images.labels, minlength=len(self.data.labels))

    def words(self, images: ImageSet) -> str:
        """Describe a set on one line: "480 images of 95 classes (1 to 9 of each); lacks camera, rocket"."""
        counts = self.counts(images)
        least, most = counts[counts > 0].min(), counts.max()
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        styles = sorted({*images.styles} - {""})
        text = f"{count(len(images), 'image')} of {count(int(np.count_nonzero(counts)), 'class')} ({each} of each)"
        if styles and styles != [REAL]:
            text += f" in {count(len(styles), 'style')}: {some_of(styles, NAMED)}"
        return text + self.lacks(images, "; ")

    def lacks(self, images: ImageSet, before: str) -> str:
        """The classes that a set has no image of, in words after `before`; "" for none."""
        named = zip(self.data.labels.label_names, self.counts(images), strict=True)
        lacks = [name for name, of_class in named if not of_class]
        return f"{before}lacks {some_of(lacks, NAMED)}" if lacks else ""


def find(train: Path, others: Mapping[str, Path | None], shifts: Sequence[str], real: str | None = None) -> Found:
    """Load what the options name: `others` by "test", "val", "generated" and "retrieved", `shifts` as ``[NAME=]DIR``.

    Raises:
        UserError: There is no test set, a shift has the name of another, there are others beside a published set that
            has its own, or the images cannot be loaded.
    """
    named = {key: path for key, path in others.items() if path is not None}
    require_there({"--train": train, **{f"--{key}": path for key, path in named.items()}})
    sources = [(name, of) for name, of in SOURCES.members().items() if train.is_dir() and issubclass(of, DataSource)]
    section: dict[str, Any] = {key: as_written(path) for key, path in named.items()}
    if source := next((name for name, of in sources if of.recognizes(train)), real and "domains"):
        if shifts or named.keys() - {"generated"}:
            raise UserError(f"--train {train} is the set {source}, which has all other sets: give no other folder")
        section |= {"source": source, "root": as_written(train), **({} if real is None else {"real": real})}
        data = _load(section)
        return Found(section, readable_names(data.labels.label_names), {}, data)
    hint = doubt = ""
    if styles := domains_in(train):
        named_styles = some_of(styles, NAMED)
        then = (
            "add --real STYLE alone, to train on one and test on the others, or name one, such as "
            f"--train {train / styles[0]}, and others with --retrieved or --shift"
        )
        hint = f". {train} holds the styles {named_styles}: {then}"
        doubt = f"the classes are {named_styles}, which hold the same folders. If these are the classes, {then}"
    if "test" not in named:
        raise UserError(f"add --test DIR, the unshifted test images{hint}")
    stored = open_stored(train)
    classes = classes_of(stored, readable_names(stored.groups))
    shifted = _name_shifts(shifts, classes)
    unknown: dict[str, Sequence[str]] = {}
    for path in (*named.values(), *shifted.values()):
        of_set, _ = by_style(open_stored(path), classes, {})
        called = {of_set.named.get(group, group) for group in of_set.groups}
        unknown |= {name: classes.near(name) for name in sorted(called) if classes.match(name) is None}
    shown = {name: as_written(path) for name, path in shifted.items()}
    section |= {"source": "folders", "train": as_written(train), "shifts": shown}
    try:
        data = _load({**section, "same_class": dict.fromkeys(unknown, "")})
    except UserError as error:
        raise UserError(f"{error}{hint}") from error
    return Found(section, readable_names(classes.folders), unknown, data, doubt)


def _load(section: dict[str, Any]) -> StudyData:
    arms = [{"name": "real", "mixture": "real"}]
    return load_data(parse_recipe({"name": "init", "data": section, "generator": None, "arms": arms}, "init").data)


def _name_shifts(texts: Iterable[str], classes: FolderClasses) -> dict[str, Path]:
    """The folder of each shift; of one without a name that holds folders STYLE/CLASS, each style is a shift."""
    shifts: dict[str, Path] = {}
    for text in texts:
        name, sign, folder = text.partition("=")
        path = Path(folder if sign else text)
        require_there({"--shift": path})
        styles = {} if sign else by_style(open_stored(path), classes, {})[1]
        named = {style: path / style for style in styles.values()} or {name if sign else path.stem: path}
        if twice := shifts.keys() & named:
            raise UserError(f"--shift {text}: another is called {min(twice)}: write NAME=DIR with another name")
        shifts |= named
    return shifts
