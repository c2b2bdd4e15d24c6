"""List images without reading them, and give them the labels of a study."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from genrobust.core import ImageSet, NoColumn, UserError, bare_name, digest, key_hash, progress_bar, reading, some_of
from genrobust.data.image_files import FORMATS, read_image, walk_images

log = logging.getLogger(__name__)

# Folders scanned at once. A network file system answers each request slowly, and many requests in parallel.
WORKERS = 8


@dataclass(frozen=True, slots=True)
class Listing:
    """The images at a path, not decoded yet.

    Attributes:
        keys: Name of each image.
        groups: Word for the class of each image, such as the name of its folder.
        stamps: Size in bytes and time of change in ns of the file that holds each image.
        encoded: Returns the file of image i, or its encoded bytes, and its name in messages. Thread-safe.
        in_order: Whether images are read fast in this order only.
        column: Returns the value of each image in a column, None where it is missing. None without a table.
        label_names: Groups by label number if labels are numbers, else ().
        decoders: Names of the modules that read an image from a larger file.
    """

    path: Path
    keys: Sequence[str]
    groups: Sequence[str]
    stamps: Sequence[tuple[int, int]]
    encoded: Callable[[int], tuple[Path | bytes, str]]
    in_order: bool = False
    column: Callable[[str], Sequence[Any]] | None = None
    label_names: tuple[str, ...] = ()
    decoders: frozenset[str] = frozenset()

    def read(self, index: int, side: int | None = None) -> Image.Image:
        """Decode an image, at a reduced size if `side` is given; see `read_image`. Thread-safe."""
        return read_image(*self.encoded(index), side)


class ListedImages(ImageSet):
    """The images of a listing whose group has a label. Each is decoded when it is read.

    Images are in the order of a hash of their keys, so that the first n of a class are a fair sample. `by_name` sorts
    them by key instead. A listing that must be read in order keeps its order. The fingerprint covers keys, stamps,
    labels and border.
    """

    def __init__(
        self,
        name: str,
        listing: Listing,
        labels: Mapping[str, Sequence[int]],
        *,
        by_name: bool = False,
        styles: Mapping[str, str] | None = None,
        border: int = 0,
        protocol: str = "",
    ) -> None:
        """Select the images of `listing` that have a label.

        Args:
            labels: Correct labels of each group. The first becomes the label of the image. If a group has several,
                `accepted` holds them all.
            styles: Style of each group, where it has one.
            border: Pixels to cut off at each side.
            protocol: See `ImageSet`.
        """
        self.name = name
        self.protocol = protocol
        self._listing = listing
        self._border = border
        self._chosen = _choose(listing, labels, by_name)
        self.as_stored = listing.in_order and not by_name
        # Sorted by name, the folders of a style come one after the other.
        self.even = not (by_name and styles)
        self.keys = [_require_utf8(listing.keys[i]) for i in self._chosen]
        groups = [listing.groups[i] for i in self._chosen]
        correct = [tuple(labels[group]) for group in groups]
        has_several = any(len(of_image) > 1 for of_image in correct)
        self.labels = np.array([of_image[0] for of_image in correct], dtype=np.int64)
        self.accepted = tuple(correct) if has_several else None
        self.styles = [(styles or {}).get(group, "") for group in groups]
        covered: list[object] = []
        for key, of_image, place in zip(self.keys, correct, self._chosen, strict=True):
            covered.append((key, of_image if has_several else of_image[0], *listing.stamps[place]))
        self.fingerprint = digest([border, covered] if border else covered)

    @property
    def decoders(self) -> frozenset[str]:
        return super().decoders | self._listing.decoders

    def __len__(self) -> int:
        return len(self.keys)

    def column(self, name: str) -> Sequence[Any]:
        if self._listing.column is None:
            return super().column(name)
        values = self._listing.column(name)
        return [values[i] for i in self._chosen]

    def encoded(self, index: int) -> Path | bytes:
        return self._listing.encoded(self._chosen[index])[0]

    def image(self, index: int) -> Image.Image:
        image = self._listing.read(self._chosen[index])
        if self._border == 0:
            return image
        return image.crop((self._border, self._border, image.width - self._border, image.height - self._border))

    def reduced(self, index: int, side: int) -> Image.Image:
        if self._border:
            return self.image(index)
        return self._listing.read(self._chosen[index], side)


def _choose(listing: Listing, labels: Mapping[str, Sequence[int]], by_name: bool) -> list[int]:
    """Return the places of the images that have a label, in the order of the set."""
    chosen = [i for i, group in enumerate(listing.groups) if labels.get(group)]
    if not chosen:
        raise UserError(f"{listing.path} holds no image of a known class; what is read: {', '.join(FORMATS)}")
    if by_name:
        return sorted(chosen, key=lambda i: listing.keys[i])
    if listing.in_order:
        return chosen
    return sorted(chosen, key=lambda i: key_hash(_require_utf8(listing.keys[i])))


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, and the `group` that its folder or table gives it."""

    group: str
    key: str
    stamp: tuple[int, int]


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file that holds many images.

    Attributes:
        names: Name of each image in the file. See `Listing` for the other attributes.
    """

    names: Sequence[str]
    groups: Sequence[str]
    encoded: Callable[[int], tuple[bytes, str]]
    column: Callable[[str], Sequence[Any]]
    label_names: tuple[str, ...] = ()


def list_packed(
    source: Path, files: Sequence[Path], open_file: Callable[[Path], PackedFile], in_order: bool = False
) -> Listing:
    """List the images in the `files` at `source`. The key of an image is ``{file}/{name}``."""
    opened: list[PackedFile] = []
    stamps: list[tuple[int, int]] = []
    with progress_bar(f"listing {source.name}", len(files), "files") as bar:
        for path in files:
            of_file = stamp(path)
            file = open_file(path)
            opened.append(file)
            stamps += [of_file] * len(file.names)
            if file.label_names != opened[0].label_names:
                raise UserError(f"{path} and {files[0]} have different names for labels: save them as one dataset")
            bar.advance()
    keys = [f"{path.stem}/{name}" for path, file in zip(files, opened, strict=True) for name in file.names]
    groups = [group for file in opened for group in file.groups]
    where = [(file, place) for file in opened for place in range(len(file.names))]

    def encoded(index: int) -> tuple[bytes, str]:
        file, place = where[index]
        return file.encoded(place)

    def column(name: str) -> list[Any]:
        return _join_column(opened, name)

    decoders = frozenset({open_file.__module__})
    return Listing(source, keys, groups, stamps, encoded, in_order, column, opened[0].label_names, decoders)


def _join_column(files: Sequence[PackedFile], name: str) -> list[Any]:
    """Return a column over all files, None for each image of a file that lacks it. Raise NoColumn if all lack it."""
    values: list[Any] = []
    lacking: list[NoColumn] = []
    for file in files:
        try:
            values += file.column(name)
        except NoColumn as error:
            lacking.append(error)
            values += [None] * len(file.names)
    if lacking and len(lacking) == len(files):
        raise lacking[0]
    return values


def some_names(names: Iterable[str]) -> str:
    """Return up to ten names for a message, with unprintable characters escaped."""
    return ascii(some_of(names))[1:-1]


def list_folder(folder: Path, groups: Collection[str], classes: Collection[str] = ()) -> Listing:
    """List the images below the subfolders `groups` of `folder`, found by extension, without hidden ones.

    A key is the path below `folder`, written with ``/``. Links are followed.

    Args:
        classes: Names of further classes. No folder inside a group may have one of these names.
    """

    def scan(group: str) -> list[ImageFile]:
        return [ImageFile(group, key, stamp(entry)) for key, entry in walk_images(folder, group)]

    found: list[ImageFile] = []
    with ThreadPoolExecutor(WORKERS) as pool, progress_bar(f"listing {folder.name}", len(groups), "folders") as bar:
        for files in pool.map(scan, groups):
            found += files
            bar.advance()
    log.info("%s: %d images in %d folders", folder, len(found), len(groups))
    _check_nested(folder, found, [*groups, *classes])
    return list_images(folder, found)


def list_files(folder: Path, group_of: Callable[[str], str]) -> Listing:
    """List the images of a `folder` without class folders."""
    found = [ImageFile(group_of(key), key, stamp(entry)) for key, entry in walk_images(folder)]
    return list_images(folder, found)


def _check_nested(folder: Path, files: Iterable[ImageFile], classes: Iterable[str]) -> None:
    """Raise UserError if a folder inside a class folder has the name of another class. Warn if that name is a number.

    A number may count sessions or persons. It may also be the class, inside folders that count severities.
    """
    class_names = {bare_name(PurePosixPath(name).name) for name in classes}
    numbered: list[str] = []
    for group, path in sorted(_nested_folders(files)):
        own_name = bare_name(PurePosixPath(group).name)
        for part in path[len(group) + 1 :].split("/"):
            if bare_name(part) == own_name or bare_name(part) not in class_names:
                continue
            if not part.isdecimal():
                raise UserError(f"{folder / path} lies in {group!r}, and is called as another class: move or rename it")
            numbered.append(path)
    if numbered:
        log.warning("%s: the images in %s count for the class of the outer folder", folder, some_of(numbered, 3))


def _nested_folders(files: Iterable[ImageFile]) -> set[tuple[str, str]]:
    """Return the folders inside the folder of a group, each with its group."""
    nested = set()
    for file in files:
        if "/" in file.key[len(file.group) + 1 :]:
            nested.add((file.group, file.key.rpartition("/")[0]))
    return nested


def list_images(
    folder: Path,
    files: Sequence[ImageFile],
    path: Path | None = None,
    column: Callable[[str], Sequence[Any]] | None = None,
) -> Listing:
    """List image `files` whose keys are paths below `folder`."""
    keys = [file.key for file in files]
    groups = [file.group for file in files]
    stamps = [file.stamp for file in files]
    return Listing(path or folder, keys, groups, stamps, lambda i: (folder / keys[i], keys[i]), column=column)


def stamp(file: Path | os.DirEntry[str]) -> tuple[int, int]:
    """Return the size of a file in bytes and its time of change in ns."""
    with reading(os.fspath(file)):
        status = file.stat()
    # A named pipe would block.
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"cannot read {os.fspath(file)}: it is no regular file; remove it")
    if status.st_size == 0:
        raise UserError(f"cannot read {os.fspath(file)}: it is empty (zero bytes); replace or remove it")
    return status.st_size, status.st_mtime_ns


def _require_utf8(key: str) -> str:
    try:
        key.encode()
    except UnicodeEncodeError:
        raise UserError(f"the file name {key!a} is no valid UTF-8: rename the file") from None
    return key
