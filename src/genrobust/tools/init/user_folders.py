"""Looks at the images that a user names: their classes, counts, unknown names and broken images."""

from __future__ import annotations

import math
import shlex
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from genrobust.core import MEAN_OF_SHIFTS, ImageSet, UserError, progress_bar, some_of
from genrobust.data import (
    DataSource,
    FolderClasses,
    ListedImages,
    Listing,
    StoredImages,
    broken_images,
    classes_of,
    copies_of_tests,
    describe_dark,
    describe_passed_over,
    domains_in,
    find_copies,
    hash_contents,
    image_files,
    open_stored,
    read_image,
    readable_names,
    require_there,
)
from genrobust.recipe import SOURCES, EvaluateConfig, look_alikes, valid_name
from genrobust.report import count

SHIFT = "shift "  # begins the role of a shifted test set
SAMPLED = 200  # training images whose size is read: their median is that of all to within a few percent
BROKEN_SHOWN = 10
CHECKED = 500  # images that are checked between two looks at the bar


@dataclass(frozen=True, slots=True)
class UserFolders:
    """The folders that the user named; `shifts` maps the name of a shifted test set to its folder.

    Where `source` is set, `train` is the folder of a set of domains, which holds the other sets, too; `real` is the
    domain to train on, None the usual one.
    """

    train: Path
    test: Path | None
    val: Path | None
    shifts: Mapping[str, Path]
    generated: Path | None
    retrieved: Path | None
    source: str = ""
    real: str | None = None

    def command(self, *more: str) -> str:
        """The command that names these folders, with `more` words, as a shell reads it."""
        words: list[str] = []
        for role, path in self.by_role().items():
            is_shift = role.startswith(SHIFT)
            words += ["--shift", f"{role.removeprefix(SHIFT)}={path}"] if is_shift else [f"--{role}", str(path)]
        words += [] if self.real is None else ["--real", self.real]
        return shlex.join(["genrobust", "init", *words, *more])

    def by_role(self) -> dict[str, Path]:
        """Every folder by its name in messages."""
        named = {"train": self.train, "test": self.test, **{f"{SHIFT}{name}": f for name, f in self.shifts.items()}}
        named |= {"val": self.val, "generated": self.generated, "retrieved": self.retrieved}
        return {role: folder for role, folder in named.items() if folder is not None}


@dataclass(frozen=True, slots=True)
class FolderContents:
    """The images of one folder, or of a table, tars or a dataset, by class. What is called a folder may be a label.

    Attributes:
        names: Training folders by label.
        counts: Number of images by label.
        renamed: Subfolders that spell a training folder differently, each with that training folder.
        unknown: Subfolders that match no training folder, each with the nearest ones.
        lacks: Training folders without an image here.
        passed_over: The extensions of other files that may be images, one for each file.
    """

    role: str
    stored: StoredImages
    names: Sequence[str]
    counts: Mapping[int, int]
    renamed: Mapping[str, str]
    unknown: Mapping[str, Sequence[str]]
    lacks: Sequence[str]
    passed_over: Sequence[str]

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.stored.path

    @property
    def images(self) -> int:
        return sum(self.counts.values())

    @property
    def passed_over_line(self) -> str:
        """The number of files of other extensions, on one line; "" for none."""
        return describe_passed_over(self.folder, self.passed_over)

    def left_out(self, least: int) -> str:
        """Why a shifted set is not averaged where that takes `least` images, in words; "" where it is."""
        if self.images < least:
            return f"{count(self.images, 'image')}, fewer than {least} (evaluate.min_images)"
        return "its images are of one class, where every answer is right" if len(self.counts) == 1 else ""

    @property
    def words(self) -> str:
        """Describe it on one line: "480 images of 95 classes (1 to 9 of each); lacks camera, rocket"."""
        if not self.counts:
            return "no image of a known class"
        least, most = min(self.counts.values()), max(self.counts.values())
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        classes = "1 class" if len(self.counts) == 1 else f"{len(self.counts):,} classes ({each} of each)"
        text = f"{count(self.images, 'image')} of {classes}"
        return f"{text}; lacks {some(self.lacks)}" if self.lacks else text


def read_folders(
    train: Path,
    test: Path | None,
    val: Path | None,
    shifts: Sequence[str],
    generated: Path | None,
    retrieved: Path | None,
    say: Callable[[str], None],
    real: str | None = None,
) -> UserFolders:
    """The folders that the options name; `shifts` are ``NAME=DIR``, and `real` is the domain of `train` to train on.

    `val` without `test` becomes the test set, and `say` logs it: a study needs a test set, and must not choose
    checkpoints by it.

    Raises:
        UserError: Neither `test` nor `val`, or a shift without a name or with the name of another test set; any of
            these beside a published set that has its own.
    """
    published = (n for n, s in _sources().items() if s.recognizes(train)) if train.is_dir() else iter(())
    if source := next(published, "" if real is None else "domains"):
        if test or val or shifts or retrieved:
            raise UserError(f"--train {train} is the set {source}, which has all other sets: give no other folder")
        return UserFolders(train, None, None, {}, generated, None, source, real)
    if test is None:
        if val is None:
            hint = f", or --real DOMAIN if these are domains: {some(names)}" if (names := domains_in(train)) else ""
            raise UserError(
                f"add --test DIR, the unshifted test images (--val DIR without it becomes the test set){hint}"
            )
        say(f"no --test, so {val} is the unshifted test set")
        test, val = val, None
    named: dict[str, Path] = {}
    for text in shifts:
        name, sign, folder = text.partition("=")
        if not (sign and name.strip() and folder):
            raise UserError(f"--shift {text}: write NAME=DIR, such as --shift sketch=data/sketch")
        try:
            valid_name(name)
        except ValueError as error:
            raise UserError(f"--shift {text}: {error}") from None
        taken = ["test", MEAN_OF_SHIFTS, *named]
        if name.casefold() in map(str.casefold, taken) or look_alikes([*taken, name]):
            raise UserError(f"--shift {text}: another test set has that name; choose another name")
        named[name] = Path(folder)
    return UserFolders(train, test, val, named, generated, retrieved)


def look_at(folders: UserFolders) -> tuple[dict[str, FolderContents], dict[str, str]]:
    """The contents of every folder by role, and the readable name of each training folder.

    Raises:
        UserError: A folder that is missing, empty, named twice or inside another, or a training class without images.
    """
    seen: dict[Path, str] = {}
    require_there({f"--{role}": folder for role, folder in folders.by_role().items()})
    for role, folder in folders.by_role().items():
        other = seen.setdefault(folder.resolve(), role)
        if other != role:
            raise UserError(f"{other} and {role} are the same folder, {folder}: give each its own images")
    for place, role in seen.items():
        for around in (parent for parent in place.parents if parent in seen):
            raise UserError(f"{role} is inside {seen[around]}, {around}: give each its own images")
    if folders.source:
        return _look_at_domains(folders)
    train = open_stored(folders.train)
    names = readable_names(train.groups)
    classes = classes_of(train, names)
    by_role = {}
    for role, folder in folders.by_role().items():
        by_role[role] = _read_contents(role, train if role == "train" else folder, classes)
        if role == "train" and (lacks := by_role[role].lacks):
            problem = f"{folder}: these class folders hold no image: {some(lacks)}. Add some, or remove them"
            raise UserError("\n".join(filter(None, [problem, by_role[role].passed_over_line])))
    return by_role, names


def _sources() -> dict[str, type[DataSource]]:
    return {name: source for name, source in SOURCES.members().items() if issubclass(source, DataSource)}


def _look_at_domains(folders: UserFolders) -> tuple[dict[str, FolderContents], dict[str, str]]:
    """As `look_at`, for a set of domains that holds all sets of a study."""
    section = {"source": folders.source, "root": folders.train, "real": folders.real}
    data, classes = _sources()[folders.source].model_validate(section).load()
    sets = {"train": data.train, "val": data.val, "test": data.tests[data.clean], "retrieved": data.retrieval}
    sets |= {f"{SHIFT}{name}": data.tests[name] for name in data.shifts}
    by_role = {
        role: _read_contents(role, _stored(folders.train, images, classes), classes)
        for role, images in sets.items()
        if images is not None
    }
    if folders.generated is not None:
        by_role["generated"] = _read_contents("generated", folders.generated, classes)
    return by_role, readable_names(classes.folders)


def _stored(path: Path, images: ImageSet, classes: FolderClasses) -> StoredImages:
    """The `images` of the set at `path` as they would be listed, each under its class folder."""
    encoded: Callable[[int], Path | bytes] | None = getattr(images, "encoded", None)
    assert encoded is not None, "a published set has files"
    groups = [classes.folders[label] for label in images.labels]
    listing = Listing(path, images.keys, groups, (), lambda i: (encoded(i), images.keys[i]))
    return StoredImages(path, classes.folders, listing)


def median_side(stored: StoredImages) -> int:
    """The median shorter side, in pixels, of a sample of the images that are `stored`."""
    sides: list[int] = []
    sample = _sample(stored)
    for read in sample.values():
        with suppress(UserError):  # say_broken reports it
            sides.append(min(read().size))
    if not sides:
        raise UserError(f"{stored.path}: cannot read any of the sampled images, such as {next(iter(sample))}")
    return round(statistics.median(sides))


def _sample(stored: StoredImages) -> dict[str, Callable[[], Image.Image]]:
    """Functions that read up to SAMPLED images spread evenly over those that are `stored`, by their names."""
    names, read = _images(stored)
    in_order = stored.listed is not None and stored.listed.in_order
    # in order, each image brings its row group along: the first ones do
    indices = range(len(names))[:SAMPLED] if in_order else range(0, len(names), math.ceil(len(names) / SAMPLED) or 1)
    return {names[i]: partial(read, i) for i in indices}


def _images(stored: StoredImages) -> tuple[Sequence[str], Callable[[int], Image.Image]]:
    """The names of all images that are `stored`, and what reads each; empty files too, at which a listing would end."""
    if stored.listed is not None:
        return stored.listed.keys, stored.listed.read
    files = sorted(image_files(stored.path))
    return [str(file) for file in files], lambda index: read_image(files[index])


def say_found(by_role: Mapping[str, FolderContents], least: int, say: Callable[[str], None]) -> None:
    """Log what each folder holds, and what follows from it; `least` are the images of a shift that is averaged."""
    for role, contents in by_role.items():
        say(f"{role}: {contents.words}")
        if contents.passed_over_line:
            say(f"  {contents.passed_over_line}")
        if contents.renamed:
            say(f"  other spellings: {some([f'{a} is {b}' for a, b in contents.renamed.items()])}")
        for name, near in contents.unknown.items():
            perhaps = f" (perhaps {' or '.join(near)}?)" if near else ""
            say(f'  no training class for the folder {name!r}{perhaps}: name one, or "", under data.same_class')
        if role.startswith(SHIFT) and (why := contents.left_out(least)):
            say(f"  left out of the mean over shifts: {why}")
        elif role.startswith(SHIFT) and contents.images < EvaluateConfig().min_images:
            say("  few images: it counts in the mean over shifts, with a wide interval of its own")
        if role == "train" and any(name.isdecimal() for name in contents.names):
            say('  classes are called by numbers, and so would prompts be ("a photo of a 0"): fill in data.class_names')
        if role == "retrieved" and contents.lacks:
            say("  the arm real+retrieved needs images of every class that is generated")
    if "val" not in by_role:
        say("val: none, so a tenth of each class of train is held out to choose checkpoints")
    if not any(role.startswith(SHIFT) for role in by_role):
        say("no shifted test set, and so no robustness to measure: add --shift NAME=DIR")


def say_broken(by_role: Mapping[str, FolderContents], say: Callable[[str], None]) -> bool:
    """Decode every image, and log those that cannot be read, and how many of a sample are nearly black.

    Returns:
        Whether all can be read.
    """
    stored = [_images(contents.stored) for contents in by_role.values()]
    broken: list[str] = []
    with progress_bar("checking", sum(len(names) for names, _ in stored)) as bar:
        for names, read in stored:
            for start in range(0, len(names), CHECKED):
                part = range(len(names))[start : start + CHECKED]
                broken += broken_images(read, part)
                bar.advance(len(part))
    for reason in broken[:BROKEN_SHOWN]:
        say(reason)
    if len(broken) > BROKEN_SHOWN:
        say(f"and {len(broken) - BROKEN_SHOWN:,} more images that cannot be read")
    if broken:
        say(f"{count(len(broken), 'broken image')}: fix or remove them before a run, which stops at the first")
    for role, contents in by_role.items():
        if dark := describe_dark(_sample(contents.stored).values()):
            say(f"{role}, {contents.folder}: {dark}")
    return not broken


def say_copies(by_role: Mapping[str, FolderContents], say: Callable[[str], None]) -> None:
    """Read every file, and log which images are copies of test images, or of others of their kind, byte for byte.

    Raises:
        UserError: A file cannot be read.
    """
    tests = [role for role in by_role if role == "test" or role.startswith(SHIFT)]
    sets = {}
    for role, stored in ((role, contents.stored) for role, contents in by_role.items()):
        sets[role] = ListedImages(role, stored.listing(stored.groups), dict.fromkeys(stored.groups, (0,)))
    hashes = {role: hash_contents(images) for role, images in sets.items()}
    scored = {role: sets[role] for role in tests}

    def contents_of(images: ImageSet) -> np.ndarray | None:
        return hashes[images.name]

    for role in [role for role in sets if role not in tests]:
        if copies := copies_of_tests(role, sets[role], scored, contents_of, lambda images, tests: None):
            say(str(copies))
    for copies in find_copies(scored, tests, contents_of):
        say(str(copies))


def some(names: Sequence[str]) -> str:
    """The first names, quoted if needed, and the number of the others."""
    return some_of(map(quoted, names), 8)


def quoted(value: str) -> str:
    """`value` as YAML on one line, safe as a key, in a list and in a comment, whatever it holds."""
    style = None if value.isprintable() else '"'  # which escapes line breaks
    listed = yaml.safe_dump([value], default_style=style, default_flow_style=True, allow_unicode=True, width=math.inf)
    return listed.strip()[1:-1]


def _count_images(stored: StoredImages, passed_over: list[str]) -> dict[str, int]:
    """The number of images under each word for a class: a subfolder, or a label of a table, tar or saved dataset."""
    if stored.listed is None:
        folders = {name: image_files(stored.path / name, passed_over=passed_over) for name in stored.groups}
        return {name: sum(1 for _ in files) for name, files in folders.items()}
    counts = Counter(stored.listed.groups)
    return {group: counts[group] for group in stored.groups}


def _read_contents(role: str, place: Path | StoredImages, classes: FolderClasses) -> FolderContents:
    counts: dict[int, int] = {}
    passed_over: list[str] = []
    renamed: dict[str, str] = {}
    unknown: dict[str, list[str]] = {}
    try:
        stored = open_stored(place) if isinstance(place, Path) else place
        for name, number in _count_images(stored, passed_over).items():
            label = classes.match(name)
            if label is None:
                unknown[name] = classes.near(name)
                continue
            if name != classes.folders[label]:
                renamed[name] = classes.folders[label]
            if number:
                counts[label] = counts.get(label, 0) + number
    except UserError as error:
        raise UserError(f"{role}: {error}") from error
    lacks = [name for label, name in enumerate(classes.folders) if label not in counts]
    return FolderContents(role, stored, classes.folders, counts, renamed, unknown, lacks, passed_over)
