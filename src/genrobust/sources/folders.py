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


def load(config: DataConfig) -> StudyData:
    """The study's images from the folders of `config`; the clean test set is called "test".

    Raises UserError that names the folder, file or class: missing, unreadable or empty folders, classes without images,
    empty files, folders that mean no class. Damage inside an image shows when it is decoded.
    """
    train_folder, classes = _train_folder(config), read_classes(config)
    train = FolderImages("train", train_folder, classes.labels_of(train_folder))
    for label, name in enumerate(classes.folders):
        if label not in train.labels:
            raise UserError(f"the class folder {train_folder / name} holds no image: add some, or remove the folder")
    if config.test is None:
        raise UserError("data.test: name the folder of the unshifted test set")
    if "test" in config.shifts:
        raise UserError("data.shifts: the name test belongs to the unshifted test set; give this shift another name")

    def open_set(name: str, folder: Path) -> FolderImages:
        return FolderImages(name, folder, classes.labels_of(folder, config.same_class))

    held = _hold_back(train) if config.val is None else (train, open_set("val", config.val))
    return StudyData(
        labels=classes.labels,
        train=held[0],
        val=held[1],
        tests={name: open_set(name, folder) for name, folder in {"test": config.test, **config.shifts}.items()},
        clean="test",
        retrieval=None if config.retrieved is None else open_set("retrieved", config.retrieved),
    )


def load_generated(config: DataConfig) -> FolderImages | None:
    """The images in the folder `generated` of `config`, in the order of their names; None where it names none."""
    if config.generated is None:
        return None
    labels = read_classes(config).labels_of(config.generated, config.same_class)
    return FolderImages("generated", config.generated, labels, by_name=True)


@dataclass(frozen=True, slots=True)
class FolderClasses:
    """The classes that a training folder spans: `folders` are the names of its subfolders in the order of `labels`."""

    labels: LabelSpace
    folders: tuple[str, ...]

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

    def labels_of(self, folder: Path, same_class: Mapping[str, str] | None = None) -> dict[str, int | None]:
        """The label of each subfolder of `folder`; None where `same_class` gives "", which leaves it out.

        Raises UserError that names every subfolder that means no class, with what it may have meant.
        """
        same_class = same_class or {}
        for name, meant in same_class.items():
            if meant and self.match(meant) is None:
                raise UserError(f"data.same_class: {name}: no training folder {meant!r}{_perhaps(self.near(meant))}")
        found: dict[str, int | None] = {}
        unknown = []
        for sub in class_folders(folder):
            left_out = same_class.get(sub.name) == ""
            found[sub.name] = None if left_out else self.match(sub.name, same_class)
            if found[sub.name] is None and not left_out:
                unknown.append(f"{sub.name}{_perhaps(self.near(sub.name))}")
        if unknown:
            raise UserError(
                f"{folder}: these folders mean no class of the training folder: {'; '.join(unknown)}. Say which class "
                'each means under data.same_class (folder: training folder), or "" to leave it out'
            )
        return found


def read_classes(config: DataConfig) -> FolderClasses:
    """The classes of `config`'s training folder: its subfolders, sorted by name.

    An id is the slug of the folder's name. `class_names` gives the name shown and prompted; without it, that is the
    folder's name with spaces for underscores and hyphens. Raises UserError for fewer than two classes, for two of the
    same name, and for a key of `class_names` that is no folder.
    """
    train = _train_folder(config)
    names = [sub.name for sub in class_folders(train)]
    for name in config.class_names:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3)
            raise UserError(f"data.class_names: {train} has no folder {name!r}{_perhaps(near)}")
    shown = [config.class_names.get(name, re.sub(r"[\s_-]+", " ", name).strip() or name) for name in names]
    labels = LabelSpace(tuple(ClassLabel(slug(n), text, text) for n, text in zip(names, shown, strict=True)))
    return FolderClasses(labels, tuple(names))


def class_folders(folder: Path) -> list[Path]:
    """The subfolders of `folder`, hidden ones aside, sorted by name.

    Raises UserError where `folder` is missing, unreadable, without subfolders, or has images lying beside them, which
    no class would own.
    """
    try:
        entries = sorted(e for e in folder.iterdir() if not e.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    loose = [e.name for e in entries if e.is_file() and e.suffix.lower() in FORMATS]
    if loose:
        raise UserError(f"{folder} holds images of no class, such as {loose[0]}: put each class into a subfolder")
    folders = [e for e in entries if e.is_dir()]
    if not folders:
        raise UserError(f"{folder} is empty: it needs one subfolder of images for each class")
    return folders


class FolderImages:
    """The images of a folder with one subfolder a class, listed at once and decoded when asked for.

    A key is the path below the folder, with ``/``. The order is that of a hash of the keys, so that the first n of a
    class are a fair sample; `by_name` keeps the order of names, for sets whose names count upwards. The fingerprint
    covers paths, sizes, times of change and labels. Raises UserError for an empty file and where there is no image.
    """

    def __init__(self, name: str, folder: Path, labels: Mapping[str, int | None], *, by_name: bool = False) -> None:
        self.name = name
        self._folder = folder
        known = [(sub, label) for sub, label in labels.items() if label is not None]
        files = [(path.relative_to(folder).as_posix(), k) for sub, k in known for path in image_files(folder / sub)]
        if not files:
            raise UserError(f"{folder} holds no image of a known class; what is read: {', '.join(FORMATS)}")
        files.sort(key=lambda file: file[0] if by_name else _hash(file[0]))
        self.keys: Sequence[str] = [key for key, _ in files]
        self.labels = np.array([label for _, label in files], dtype=np.int64)
        self.styles: Sequence[str] = [""] * len(files)
        self.fingerprint = digest([(key, label, *_size_and_time(folder / key)) for key, label in files])

    def __len__(self) -> int:
        return len(self.keys)

    def image(self, index: int) -> Image.Image:
        return read_image(self._folder / self.keys[index])


def _train_folder(config: DataConfig) -> Path:
    if config.train is None:
        raise UserError("data.train: name the folder of training images")
    return config.train


def _hold_back(train: FolderImages) -> tuple[Subset, Subset]:
    """Train without, and with only, a tenth of each class, at least one image where a class has two or more."""
    held = np.zeros(len(train), dtype=bool)
    for label in np.unique(train.labels):
        of_class = np.flatnonzero(train.labels == label)  # in hash order: the first are a fair sample
        held[of_class[: min(len(of_class) - 1, max(1, round(HELD_BACK * len(of_class))))]] = True
    if not held.any():
        raise UserError("one image a class leaves none to hold back for validation: add images, or give data.val")
    return Subset(train, np.flatnonzero(~held)), Subset(train, np.flatnonzero(held), "val")


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"cannot read the image {path}: {error.strerror or error}") from error
    if status.st_size == 0:
        raise UserError(f"cannot read the image {path}: it is empty (zero bytes). Replace or remove it, then run again")
    return status.st_size, status.st_mtime_ns


def _hash(key: str) -> bytes:
    try:
        return hashlib.sha256(key.encode()).digest()
    except UnicodeEncodeError:
        raise UserError(f"the file name {key!a} is no valid UTF-8: rename the file") from None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _perhaps(near: Sequence[str]) -> str:
    return f" (perhaps {' or '.join(near)}?)" if near else ""
