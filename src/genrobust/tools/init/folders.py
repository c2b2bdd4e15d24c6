"""Reads the images that a user names: their classes, counts, unknown names and broken images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import yaml

from genrobust.core import MEAN_OF_SHIFTS, ImageSet, UserError, progress_bar, some_of
from genrobust.data import (
    DataSource,
    FolderClasses,
    ListedImages,
    StoredImages,
    broken_images,
    classes_of,
    describe_dark,
    domains_in,
    open_stored,
    readable_names,
    require_there,
)
from genrobust.recipe import SOURCES, EvaluateConfig, look_alikes, valid_name
from genrobust.report import count

SHIFT = "shift "  # begins the role of a shifted test set
SAMPLED = 200  # images that are looked at: the median of their sizes is that of all to within a few percent
BROKEN_SHOWN = 10
CHECKED = 500  # images that are checked between two looks at the bar


@dataclass(frozen=True, slots=True)
class UserFolders:
    """The places that the user named, by their role: train, test, val, generated, retrieved, or "shift NAME".

    Where `source` is set, train is the folder of a set of domains, which holds the other sets, too; `real` is the
    domain to train on, None the usual one.
    """

    places: Mapping[str, Path]
    source: str = ""
    real: str | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """The images of one place, by class. What is called a folder may be a label of a table, tar or saved dataset.

    Attributes:
        images: All of them, those of unknown folders too; their labels say nothing.
        names: Training folders by label.
        counts: Number of images by label, without unknown folders.
        renamed: Subfolders that spell a training folder differently, each with that training folder.
        unknown: Subfolders that match no training folder, each with the nearest ones.
    """

    role: str
    folder: Path
    images: ImageSet
    names: Sequence[str]
    counts: Mapping[int, int]
    renamed: Mapping[str, str]
    unknown: Mapping[str, Sequence[str]]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def lacks(self) -> list[str]:
        """Training folders without an image here."""
        return [name for label, name in enumerate(self.names) if label not in self.counts]

    def sample(self) -> list[int]:
        """The indices of a fair sample: images are ordered by a hash of their names."""
        return list(range(min(len(self.images), SAMPLED)))

    def left_out(self, least: int) -> str:
        """Why a shifted set is not averaged where that takes `least` images, in words; "" where it is."""
        if self.total < least:
            return f"{count(self.total, 'image')}, fewer than {least} (evaluate.min_images)"
        return "its images are of one class, where every answer is right" if len(self.counts) == 1 else ""

    @property
    def words(self) -> str:
        """Describe it on one line: "480 images of 95 classes (1 to 9 of each); lacks camera, rocket"."""
        if not self.counts:
            return "no image of a known class"
        least, most = min(self.counts.values()), max(self.counts.values())
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        classes = "1 class" if len(self.counts) == 1 else f"{len(self.counts):,} classes ({each} of each)"
        return f"{count(self.total, 'image')} of {classes}" + (f"; lacks {some(self.lacks)}" if self.lacks else "")


def name_folders(
    train: Path,
    others: Mapping[str, Path | None],
    shifts: Sequence[str],
    say: Callable[[str], None],
    real: str | None = None,
) -> UserFolders:
    """Give the places that the options name their roles; `shifts` are ``NAME=DIR``, and `real` a domain of `train`.

    `val` without `test` becomes the test set, and `say` logs it: a study needs a test set, and must not choose
    checkpoints by it.

    Raises:
        UserError: Neither `test` nor `val`, or a shift without a name or with the name of another test set; any of
            these beside a published set that has its own.
    """
    named = {role: place for role, place in others.items() if place is not None}
    published = (name for name, source in _sources().items() if source.recognizes(train)) if train.is_dir() else ()
    if source := next(iter(published), "" if real is None else "domains"):
        if shifts or named.keys() - {"generated"}:
            raise UserError(f"--train {train} is the set {source}, which has all other sets: give no other folder")
        return UserFolders({"train": train, **named}, source, real)
    if "test" not in named:
        if "val" not in named:
            hint = f", or --real DOMAIN if these are domains: {some(names)}" if (names := domains_in(train)) else ""
            raise UserError(
                f"add --test DIR, the unshifted test images (--val DIR without it becomes the test set){hint}"
            )
        say(f"no --test, so {named['val']} is the unshifted test set")
        named["test"] = named.pop("val")
    shifted: dict[str, Path] = {}
    for text in shifts:
        name, sign, folder = text.partition("=")
        if not (sign and name.strip() and folder):
            raise UserError(f"--shift {text}: write NAME=DIR, such as --shift sketch=data/sketch")
        try:
            valid_name(name)
        except ValueError as error:
            raise UserError(f"--shift {text}: {error}") from None
        taken = ["test", MEAN_OF_SHIFTS, *(role.removeprefix(SHIFT) for role in shifted)]
        if name.casefold() in map(str.casefold, taken) or look_alikes([*taken, name]):
            raise UserError(f"--shift {text}: another test set has that name; choose another name")
        shifted[SHIFT + name] = Path(folder)
    return UserFolders({"train": train, "test": named.pop("test"), **shifted, **named})


def read_folders(folders: UserFolders) -> tuple[dict[str, Contents], dict[str, str]]:
    """Return the contents of every place by role, and the readable name of each training folder.

    Raises:
        UserError: A folder that is missing, empty, named twice or inside another, or a training class without images.
    """
    seen: dict[Path, str] = {}
    require_there({f"--{role}": folder for role, folder in folders.places.items()})
    for role, folder in folders.places.items():
        if (other := seen.setdefault(folder.resolve(), role)) != role:
            raise UserError(f"{other} and {role} are the same folder, {folder}: give each its own images")
    for place, role in seen.items():
        for around in (parent for parent in place.parents if parent in seen):
            raise UserError(f"{role} is inside {seen[around]}, {around}: give each its own images")
    by_role: dict[str, Contents] = {}
    if folders.source:
        by_role, classes = _read_domains(folders)
    else:
        stored = open_stored(folders.places["train"])
        classes = classes_of(stored, readable_names(stored.groups))
        by_role["train"] = _read_contents("train", stored, classes)
        if lacks := by_role["train"].lacks:
            raise UserError(
                f"{stored.path}: these class folders hold no image: {some(lacks)}. Add some, or remove them"
            )
    for role in [role for role in folders.places if role not in by_role]:
        try:
            by_role[role] = _read_contents(role, open_stored(folders.places[role]), classes)
        except UserError as error:
            raise UserError(f"{role}: {error}") from error
    return by_role, readable_names(classes.folders)


def _sources() -> dict[str, type[DataSource]]:
    return {name: source for name, source in SOURCES.members().items() if issubclass(source, DataSource)}


def _read_domains(folders: UserFolders) -> tuple[dict[str, Contents], FolderClasses]:
    """The contents of a set of domains, which holds all sets of a study."""
    place = folders.places["train"]
    section = {"source": folders.source, "root": place, "real": folders.real}
    data, classes = _sources()[folders.source].model_validate(section).load()
    sets = {"train": data.train, "val": data.val, "test": data.tests[data.clean]}
    sets |= {f"{SHIFT}{name}": data.tests[name] for name in data.shifts}
    sets |= {} if data.retrieval is None else {"retrieved": data.retrieval}
    by_role = {
        role: Contents(role, place, images, classes.folders, Counter(images.labels.tolist()), {}, {})
        for role, images in sets.items()
    }
    return by_role, classes


def _read_contents(role: str, stored: StoredImages, classes: FolderClasses) -> Contents:
    listing = stored.listing(stored.groups)
    labels = {group: classes.match(group) for group in stored.groups}
    known = {group: label for group, label in labels.items() if label is not None}
    return Contents(
        role=role,
        folder=stored.path,
        images=ListedImages(role, listing, dict.fromkeys(stored.groups, (0,))),
        names=classes.folders,
        counts=Counter(known[group] for group in listing.groups if group in known),
        renamed={g: classes.folders[label] for g, label in known.items() if g != classes.folders[label]},
        unknown={group: classes.near(group) for group in labels if group not in known},
    )


def median_side(contents: Contents) -> int:
    """Return the median shorter side, in pixels, of a sample of the images."""
    sides = []
    for index in contents.sample():
        with suppress(UserError):  # say_broken reports it
            sides.append(min(contents.images.image(index).size))
    if not sides:
        raise UserError(f"{contents.folder}: cannot read any of the sampled images, such as {contents.images.keys[0]}")
    return round(median(sides))


def say_found(by_role: Mapping[str, Contents], least: int, say: Callable[[str], None]) -> None:
    """Log what each folder holds, and what follows from it; `least` are the images of a shift that is averaged."""
    for role, contents in by_role.items():
        say(f"{role}: {contents.words}")
        if contents.renamed:
            say(f"  other spellings: {some([f'{a} is {b}' for a, b in contents.renamed.items()])}")
        for name, near in contents.unknown.items():
            perhaps = f" (perhaps {' or '.join(near)}?)" if near else ""
            say(f'  no training class for the folder {name!r}{perhaps}: name one, or "", under data.same_class')
        if role.startswith(SHIFT) and (why := contents.left_out(least)):
            say(f"  left out of the mean over shifts: {why}")
        elif role.startswith(SHIFT) and contents.total < EvaluateConfig().min_images:
            say("  few images: it counts in the mean over shifts, with a wide interval of its own")
        if role == "train" and any(name.isdecimal() for name in contents.names):
            say('  classes are called by numbers, and so would prompts be ("a photo of a 0"): fill in data.class_names')
        if role == "retrieved" and contents.lacks:
            say("  the arm real+retrieved needs images of every class that is generated")
    if "val" not in by_role:
        say("val: none, so a tenth of each class of train is held out to choose checkpoints")
    if not any(role.startswith(SHIFT) for role in by_role):
        say("no shifted test set, and so no robustness to measure: add --shift NAME=DIR")


def say_broken(by_role: Mapping[str, Contents], say: Callable[[str], None]) -> bool:
    """Decode every image, and log those that cannot be read, and how many of a sample are nearly black.

    Returns:
        Whether all can be read.
    """
    broken: list[str] = []
    with progress_bar("checking", sum(len(contents.images) for contents in by_role.values())) as bar:
        for images in (contents.images for contents in by_role.values()):
            for start in range(0, len(images), CHECKED):
                part = range(start, min(start + CHECKED, len(images)))
                broken += broken_images(images.image, part)
                bar.advance(len(part))
    for reason in broken[:BROKEN_SHOWN]:
        say(reason)
    if broken:
        say(f"{count(len(broken), 'broken image')}: fix or remove them before a run, which stops at the first")
    for role, contents in by_role.items():
        if dark := describe_dark(partial(contents.images.image, index) for index in contents.sample()):
            say(f"{role}, {contents.folder}: {dark}")
    return not broken


def some(names: Iterable[str]) -> str:
    """The first names, quoted if needed, and the number of the others."""
    return some_of(map(quoted, names), 8)


def quoted(value: str) -> str:
    """`value` as YAML on one line, safe as a key, in a list and in a comment, whatever it holds."""
    style = None if value.isprintable() else '"'  # which escapes line breaks
    listed = yaml.safe_dump([value], default_style=style, default_flow_style=True, allow_unicode=True, width=math.inf)
    return listed.strip()[1:-1]
