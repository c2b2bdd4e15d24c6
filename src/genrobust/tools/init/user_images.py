"""Makes the section `data` of a recipe from the folders that a user names, and loads its images."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core import REAL, ImageSet, StudyData, UserError, bare_name, count, some_of
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
    walk_images,
)
from genrobust.recipe import SOURCES, parse_recipe

NAMED = 8  # classes, styles and the like on one line
UNSHIFTED = ("photo", "photos", "photograph", "photographs", "real")  # usual names of the style to train on
LEAST = 2  # images of a class in a style: one to train on and one to test on
# Keys of the recipe, and the options that name the same images. The first words name the recipe that init makes.
OPTIONS = (
    (re.compile(r"^init: "), ""),
    (re.compile(r"\bdata\.(train|test|val|real|generated|retrieved)\b(\.path)?"), r"--\1"),
    (re.compile(r"\bdata\.shifts\b\.?"), "--shift "),
    (re.compile(r"\bdata\.unlabeled\b\.?"), "--unlabeled "),
    (re.compile(r"(--shift|--unlabeled) :"), r"\1:"),
)


@dataclass(frozen=True)
class UserImages:
    """The images that the user named.

    Attributes:
        section: The section `data` of a recipe, with paths from the current folder.
        class_names: The readable name of each class folder.
        unknown: Folders that mean no class, each with the class folders that it may mean.
        doubts: What the user should check, one sentence each.
    """

    section: dict[str, Any]
    class_names: Mapping[str, str]
    unknown: Mapping[str, Sequence[str]]
    data: StudyData
    doubts: tuple[str, ...] = ()

    def counts(self, images: ImageSet) -> np.ndarray:
        """Count the images by class, int [K]."""
        return np.bincount(images.labels, minlength=len(self.data.labels))

    def words(self, images: ImageSet) -> str:
        """Describe a set on one line: "480 images of 95 classes (1 to 9 of each); lacks camera, rocket"."""
        counts = self.counts(images)
        present = counts[counts > 0]
        least, most = present.min(), present.max()
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        text = f"{count(len(images), 'image')} of {count(len(present), 'class')} ({each} of each)"
        styles = sorted({*images.styles} - {""})
        if styles and styles != [REAL]:
            text += f" in {count(len(styles), 'style')}: {some_of(styles, NAMED)}"
        return text + self.lacks(images, "; ")

    def lacks(self, images: ImageSet, before: str) -> str:
        """Name the classes without an image in a set, after `before`. Empty if there are none."""
        counts = self.counts(images)
        missing = [name for name, number in zip(self.data.labels.label_names, counts, strict=True) if not number]
        if missing:
            return f"{before}lacks {some_of(missing, NAMED)}"
        return ""


def load_user_images(
    train: Path,
    others: Mapping[str, Path | None],
    shifts: Sequence[str],
    unlabeled: Sequence[str],
    real: str | None = None,
) -> UserImages:
    """Load what the options name.

    Args:
        others: The folders by "test", "val", "generated" and "retrieved".
        shifts: Each as ``[NAME=]DIR``.
        unlabeled: The folders of images without labels, each as ``[NAME=]DIR``.
        real: The style to train on, if `train` holds folders STYLE/CLASS.

    Raises:
        UserError: There is no test set, a set has the name of another, a published set is combined with other
            folders, or the images cannot be loaded. It names the options, not the keys of the recipe.
    """
    without_labels = _name_unlabeled(unlabeled)
    try:
        images = _load_images(train, others, shifts, without_labels, real)
    except UserError as error:
        text = str(error)
        for key, option in OPTIONS:
            text = key.sub(option, text)
        raise UserError(text) from error
    clash = without_labels.keys() & {*images.data.tests, "train", "val"}
    if clash:
        name = min(clash)
        raise UserError(f"--unlabeled {without_labels[name]}: another set is called {name}: write NAME=DIR")
    return images


def _load_images(
    train: Path,
    others: Mapping[str, Path | None],
    shifts: Sequence[str],
    unlabeled: Mapping[str, Path],
    real: str | None,
) -> UserImages:
    named = {key: path for key, path in others.items() if path is not None}
    require_there({"--train": train, **{f"--{key}": path for key, path in named.items()}})
    section: dict[str, Any] = {key: as_written(path) for key, path in named.items()}
    if unlabeled:
        section["unlabeled"] = {name: as_written(path) for name, path in unlabeled.items()}
    source = _recognize(train)
    if source is None and real is not None:
        source = "domains"
    if source is None:
        return _load_folders(train, named, shifts, section)
    if shifts or named.keys() - {"generated"}:
        raise UserError(f"--train {train} is the set {source}, which has all other sets: give no other folder")
    section |= {"source": source, "root": as_written(train)}
    if real is not None:
        section["real"] = real
    doubts: tuple[str, ...] = ()
    if source == "domains" and real is not None:
        doubts = _leave_out_gaps(train, real, section)
    data = _load(section)
    return UserImages(section, readable_names(data.labels.label_names), {}, data, doubts)


def choose_style(folder: Path) -> tuple[str | None, list[str]]:
    """Choose the style to train on in a folder of styles, and return it with a line for the user.

    A set that is recognized by its name chooses its own.

    Raises:
        UserError: The folder is missing, or holds no two styles with the same classes.
    """
    require_there({"IMAGES": folder})
    if _recognize(folder) is not None:
        return None, []
    styles = domains_in(folder)
    if not styles:
        raise UserError(
            f"{as_written(folder)} holds no folders STYLE/CLASS with the same classes in each style. If its folders "
            "are classes, also name images to test on:\n"
            f"genrobust init --train {shlex.quote(as_written(folder))} --test DIR --shift DIR"
        )
    named = [style for style in styles if bare_name(style) in UNSHIFTED]
    if named:
        style = named[0]
    else:
        of_classes = _count_images(folder)
        style = max(styles, key=lambda name: of_classes[name].total())
    others = some_of([other for other in styles if other != style], NAMED)
    return style, [f"trains on the style {style} (another with --real STYLE); other styles: {others}"]


def _name_unlabeled(texts: Iterable[str]) -> dict[str, Path]:
    """Return the folders of images without labels by name: by default, the folder's own."""
    folders: dict[str, Path] = {}
    for text in texts:
        name, path = _split("--unlabeled", text)
        _add_folder(folders, "--unlabeled", text, {name or path.stem: path})
    return folders


def _split(option: str, text: str) -> tuple[str, Path]:
    """Split the value ``[NAME=]DIR`` of `option`. The name is empty if the user gave none.

    Raises:
        UserError: The name or the folder is empty, or the folder is missing.
    """
    name, sign, folder = text.partition("=")
    if not sign:
        name, folder = "", text
    elif not name or not folder:
        raise UserError(f"{option} {text}: write NAME=DIR, or DIR alone")
    path = Path(folder)
    require_there({option: path})
    return name, path


def _add_folder(folders: dict[str, Path], option: str, text: str, named: Mapping[str, Path]) -> None:
    """Add the folders that the value `text` of `option` names. Raise UserError if a name is in use."""
    twice = folders.keys() & named
    if twice:
        raise UserError(f"{option} {text}: another is called {min(twice)}: write NAME=DIR with another name")
    folders.update(named)


def require_shifts_apart(places: Mapping[str, Path | None], shifts: Sequence[str]) -> None:
    """Raise UserError if a shift is also one of `places`, the folders by option.

    Loading refuses other sets that share a folder, in fewer words.
    """
    options = {path.resolve(): option for option, path in places.items() if path is not None}
    for text in shifts:
        # Loading checks the text.
        path = Path(text.partition("=")[2] or text)
        other = options.get(path.resolve())
        if other is None:
            continue
        same = f"--shift {text} and {other} {places[other]} are the same folder: "
        if other == "--test":
            raise UserError(f"{same}name two folders, since a shift is compared with test images that are not shifted")
        raise UserError(
            f"{same}its images cannot be tested on and learned from.\n"
            "Name two folders. Or put your training images next to these styles, and genrobust init splits them: "
            "genrobust init IMAGES"
        )


def _recognize(train: Path) -> str | None:
    """Return the name of the published set in `train`; None if it is none."""
    if not train.is_dir():
        return None
    for name, source in SOURCES.members().items():
        if issubclass(source, DataSource) and source.recognizes(train):
            return name
    return None


def _leave_out_gaps(root: Path, real: str, section: dict[str, Any]) -> tuple[str, ...]:
    """Leave out styles that lack most classes of `real`, then classes that a style lacks. Add to `section`, return why.

    Raises:
        UserError: Fewer than two styles or classes are left.
    """
    images = _count_images(root)
    classes = sorted({name for counts in images.values() for name in counts})
    lacking = {style: [name for name in classes if counts[name] < LEAST] for style, counts in images.items()}
    # Loading says which styles there are.
    if real not in images:
        return ()
    if not any(lacking.values()):
        return ()
    of_real = [name for name in classes if name not in lacking[real]]
    poor = []
    for style in images:
        lacked = [name for name in of_real if name in lacking[style]]
        if style != real and 2 * len(lacked) > len(of_real):
            poor.append(style)
    styles = [style for style in images if style not in poor]
    # Each with one of the styles that lack it.
    scarce = {name: style for style in styles for name in lacking[style]}
    kept = [name for name in classes if name not in scarce]
    if len(styles) < 2 or len(kept) < 2:
        gaps = [f"{style} lacks {some_of(names, NAMED)}" for style, names in lacking.items() if names]
        raise UserError(
            f"--train {root}: a style needs {LEAST} images of each class, and too few classes or styles have them: "
            f"{'; '.join(gaps)}"
        )
    doubts = []
    if poor:
        section["domains"] = styles
        doubts += [f"the style {style} is left out: it lacks {some_of(lacking[style], NAMED)}" for style in poor]
    if scarce:
        section["classes"] = kept
        doubts += [f"the class {name} is left out: {style} has too few images of it" for name, style in scarce.items()]
    return tuple(doubts)


def _count_images(root: Path) -> dict[str, Counter[str]]:
    """Count the images of each class in each style, in folders STYLE/CLASS."""
    styles: dict[str, Counter[str]] = {}
    for folder in sorted(root.iterdir()):
        if folder.is_dir() and folder.name[0] not in "._":
            keys = [key for key, _ in walk_images(folder)]
            styles[folder.name] = Counter(key.partition("/")[0] for key in keys if "/" in key)
    return styles


def _load_folders(train: Path, named: Mapping[str, Path], shifts: Sequence[str], section: dict[str, Any]) -> UserImages:
    """Load class folders, or tables and tars of the same classes."""
    hint = ""
    doubts: tuple[str, ...] = ()
    styles = domains_in(train)
    if styles:
        named_styles = some_of(styles, NAMED)
        advice = (
            "add --real STYLE alone, to train on one and test on the others, or name one, such as "
            f"--train {train / styles[0]}, and others with --retrieved or --shift"
        )
        hint = f". {train} holds the styles {named_styles}: {advice}"
        doubts = (f"the classes are {named_styles}, which hold the same folders. If these are the classes, {advice}",)
    if "test" not in named:
        raise UserError(f"add --test DIR, the unshifted test images{hint}")
    stored = open_stored(train)
    classes = classes_of(stored, readable_names(stored.groups))
    shifted = _name_shifts(shifts, classes)
    unknown: dict[str, Sequence[str]] = {}
    for path in (*named.values(), *shifted.values()):
        labeled, _ = by_style(open_stored(path), classes, {})
        names = {labeled.named.get(group, group) for group in labeled.groups}
        for name in sorted(names):
            if classes.match(name) is None:
                unknown[name] = classes.near(name)
    shown = {name: as_written(path) for name, path in shifted.items()}
    section |= {"source": "folders", "train": as_written(train), "shifts": shown}
    try:
        data = _load({**section, "same_class": dict.fromkeys(unknown, "")})
    except UserError as error:
        raise UserError(f"{error}{hint}") from error
    return UserImages(section, readable_names(classes.folders), unknown, data, doubts)


def _load(section: dict[str, Any]) -> StudyData:
    arms = [{"name": "real", "mixture": "real"}]
    recipe = parse_recipe({"name": "init", "data": section, "generator": None, "arms": arms}, "init")
    return load_data(recipe.data)


def _name_shifts(texts: Iterable[str], classes: FolderClasses) -> dict[str, Path]:
    """Return the folder of each shift. In a folder without a name that holds STYLE/CLASS, each style is a shift."""
    shifts: dict[str, Path] = {}
    for text in texts:
        name, path = _split("--shift", text)
        styles: Mapping[str, str] = {}
        if not name:
            _, styles = by_style(open_stored(path), classes, {})
        named = {style: path / style for style in styles.values()}
        if not named:
            named = {name or path.stem: path}
        _add_folder(shifts, "--shift", text, named)
    return shifts
