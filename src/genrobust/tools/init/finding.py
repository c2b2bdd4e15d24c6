"""Makes the section `data` of a recipe from the folders that a user names, and loads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core import MEAN_OF_SHIFTS, REAL, ImageSet, StudyData, UserError, some_of
from genrobust.data import (
    DataSource,
    FolderClasses,
    as_written,
    by_style,
    classes_of,
    domains_in,
    held_out,
    is_on_hub,
    load_data,
    open_stored,
    readable_names,
    require_there,
)
from genrobust.recipe import SOURCES, DataConfig, checked, valid_name
from genrobust.report import count

HELD_OUT = 1 / 3  # of `data.shifted_val`
NAMED = 8  # classes and the like, in a line


@dataclass(frozen=True)
class Found:
    """The images that the user named.

    Attributes:
        section: The section `data` of a recipe, with paths from the current folder.
        class_names: The readable name of each class folder.
        unknown: Folders that mean no class, each with the class folders that it may mean.
    """

    section: dict[str, Any]
    class_names: Mapping[str, str]
    unknown: Mapping[str, Sequence[str]]
    data: StudyData

    def counts(self, images: ImageSet) -> np.ndarray:
        """The number of images by class, int [K]."""
        return np.bincount(images.labels, minlength=len(self.data.labels))

    def left_of(self, shift: str, chosen_by: str | None) -> int:
        """The images of a shift that are tested on, where `chosen_by` names the one of which a part is held out."""
        counts = self.counts(self.data.tests[shift])
        return int(counts.sum()) - sum(held_out(n, HELD_OUT) for n in counts if n) * (shift == chosen_by)

    def words(self, images: ImageSet) -> str:
        """Describe a set on one line: "480 images of 95 classes (1 to 9 of each), lacks camera, rocket"."""
        counts = self.counts(images)
        least, most = counts[counts > 0].min(), counts.max()
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        styles = sorted({*images.styles} - {""})
        text = f"{count(len(images), 'image')} of {np.count_nonzero(counts):,} classes ({each} of each)"
        if styles and styles != [REAL]:
            text += f" in {count(len(styles), 'style')}: {some_of(styles, NAMED)}"
        return text + self.lacks(images, "; ")

    def lacks(self, images: ImageSet, before: str) -> str:
        """The classes that a set has no image of, in words after `before`; "" for none."""
        named = zip(self.data.labels.label_names, self.counts(images), strict=True)
        lacks = [name for name, of_class in named if not of_class]
        return f"{before}lacks {some_of(lacks, NAMED)}" if lacks else ""


def find(
    train: Path,
    others: Mapping[str, Path | None],
    shifts: Sequence[str],
    real: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Found:
    """Load what the options name: `others` by "test", "val", "generated" and "retrieved", `shifts` as ``[NAME=]DIR``.

    `val` without `test` becomes the test set, since a study needs one and must not choose checkpoints by it.

    Raises:
        UserError: A folder is missing, lies in another or holds no image of a training class; there is no test set; a
            shift has the name of another; or there are others beside a published set that has its own.
    """
    named = {key: path for key, path in others.items() if path is not None}
    require_there({"--train": train, **{f"--{key}": path for key, path in named.items()}})
    sources = {name: of for name, of in SOURCES.members().items() if issubclass(of, DataSource)}
    published = (name for name, source in sources.items() if source.recognizes(train)) if train.is_dir() else ()
    section: dict[str, Any] = {key: as_written(path) for key, path in named.items()}
    if source := next(iter(published), "" if real is None else "domains"):
        if shifts or named.keys() - {"generated"}:
            raise UserError(f"--train {train} is the set {source}, which has all other sets: give no other folder")
        kept = {"source": source, "root": as_written(train), **({} if real is None else {"real": real}), **section}
        data = load_data(_checked(kept))
        return Found(kept, readable_names(data.labels.label_names), {}, data)
    styles = domains_in(train)
    if "test" not in named:
        if "val" not in named:
            hint = f"; or --real STYLE to train on one of the styles {some_of(styles, NAMED)}" if styles else ""
            raise UserError(
                f"add --test DIR, the unshifted test images (--val DIR without it becomes the test set){hint}"
            )
        say(f"no --test, so {named['val']} is the unshifted test set")
        section["test"], named["test"] = section.pop("val"), named.pop("val")
    stored = open_stored(train)
    classes = classes_of(stored, readable_names(stored.groups))
    shifted = _name_shifts(shifts, classes)
    unknown: dict[str, Sequence[str]] = {}
    for key, path in {**named, **{f"shift {name}": path for name, path in shifted.items()}}.items():
        of_set, known = _unknown(path, classes)
        if not known and styles:
            raise UserError(
                f"--train {train} holds folders STYLE/CLASS: name one style, such as --train {train / styles[0]}, and "
                f"others with --retrieved or --shift; or leave out the other folders, and add --real {styles[0]}"
            )
        if not known:
            raise UserError(
                f"--{key}: {path} has no folder of a training class, and none of styles with such folders, only "
                f"{some_of(of_set, NAMED)}: name them as those of --train, {some_of(classes.folders, NAMED)}"
            )
        unknown |= of_set
    section |= {"source": "folders", "train": as_written(train)}
    section |= {"shifts": {name: as_written(path) for name, path in shifted.items()}} if shifted else {}
    data = load_data(_checked({**section, "same_class": dict.fromkeys(unknown, "")}))
    return Found(section, readable_names(classes.folders), unknown, data)


def _checked(section: dict[str, Any]) -> DataConfig:
    try:
        return checked(DataConfig, section, "data")
    except ValueError as error:
        raise UserError(str(error)) from None


def path_from(folder: Path, path: str) -> str:
    """Return a path of the current folder as a recipe in `folder` names it."""
    absolute = Path(path).is_absolute() or is_on_hub(Path(path)) or folder == Path()
    return path if absolute else os.path.relpath(path, folder)


def _name_shifts(texts: Iterable[str], classes: FolderClasses) -> dict[str, Path]:
    """The folder of each shift; of one without a name that holds folders STYLE/CLASS, each style is a shift."""
    shifts: dict[str, Path] = {}
    for text in texts:
        name, sign, folder = text.partition("=")
        path = Path(folder if sign else text)
        if not text.strip() or (sign and not (name.strip() and folder)):
            raise UserError(f"--shift {text}: write NAME=DIR, such as --shift sketch=data/sketch, or DIR")
        require_there({"--shift": path})
        styles = {} if sign else by_style(open_stored(path), classes, {})[1]
        named = {style: path / style for style in styles.values()} or {name if sign else path.stem: path}
        for each, place in named.items():
            try:
                valid_name(each)
            except ValueError as error:
                raise UserError(f"--shift {text}: {error}") from None
            taken = ["test", MEAN_OF_SHIFTS, *shifts]
            if each.casefold() in map(str.casefold, taken):
                raise UserError(f"--shift {text}: another test set is called {each}: write NAME=DIR with another name")
            shifts[each] = place
    return shifts


def _unknown(path: Path, classes: FolderClasses) -> tuple[dict[str, Sequence[str]], bool]:
    """The folders at `path` that mean no class, each with those that it may mean; and whether any means one."""
    stored, _ = by_style(open_stored(path), classes, {})
    called = {stored.named.get(group, group) for group in stored.groups}
    unknown: dict[str, Sequence[str]] = {
        name: classes.near(name) for name in sorted(called) if classes.match(name) is None
    }
    return unknown, len(unknown) < len(called)
