"""Images listed before they are read, and the ImageSet that gives them the study's labels."""

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
from genrobust.data.reading import FORMATS, read_image, walk_images

log = logging.getLogger(__name__)

WORKERS = 8  # folders scanned at once: a network file system answers each slowly, and several together


@dataclass(frozen=True, slots=True)
class Listing:
    """The images at a path, not decoded yet.

    Attributes:
        keys: Names of the images.
        groups: For each image the word that the path has for its class.
        stamps: For each image the bytes and the time of change in ns of the file that it lies in.
        encoded: Returns where image i lies, its file or its encoded bytes, and its name in messages; from any thread.
        in_order: Whether images are read fast in this order alone.
        column: Reads for each image its value in a column of that name, None for none; None where there is no table.
        label_names: The groups by label number where labels are numbered, else ().
    """

    path: Path
    keys: Sequence[str]
    groups: Sequence[str]
    stamps: Sequence[tuple[int, int]]
    encoded: Callable[[int], tuple[Path | bytes, str]]
    in_order: bool = False
    column: Callable[[str], Sequence[Any]] | None = None
    label_names: tuple[str, ...] = ()

    def read(self, index: int, side: int | None = None) -> Image.Image:
        """Decode an image, from any thread; with `side` at a reduced size, as `read_image` does."""
        return read_image(*self.encoded(index), side)


class ListedImages(ImageSet):
    """The images of a listing whose group is in `labels`, decoded when asked for: an ImageSet.

    Images are ordered by a hash of their keys, so that the first n of a class are a fair sample; by name if `by_name`;
    or as listed if the listing requires it. The fingerprint covers keys, stamps, labels and border.

    Args:
        labels: The study's labels that are right for a group: the first is the image's label, and `accepted` holds all
            of them where any group has several.
        styles: The style of the images of a group, where they have one.
        border: Pixels that are cut off each side.
        protocol: What is special about the set, in words.

    Raises:
        UserError: No image is left.
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
        self.name, self.protocol, self._listing, self._border = name, protocol, listing, border
        chosen = [i for i, group in enumerate(listing.groups) if labels.get(group)]
        if not chosen:
            raise UserError(f"{listing.path} holds no image of a known class; what is read: {', '.join(FORMATS)}")
        if by_name or not listing.in_order:
            chosen.sort(key=lambda i: listing.keys[i] if by_name else key_hash(_require_utf8(listing.keys[i])))
        self._chosen, self.as_stored = chosen, listing.in_order and not by_name
        self.keys = [_require_utf8(listing.keys[i]) for i in chosen]
        rights = [tuple(labels[listing.groups[i]]) for i in chosen]
        self.labels = np.array([right[0] for right in rights], dtype=np.int64)
        several = any(len(right) > 1 for right in rights)
        self.accepted = tuple(rights) if several else None
        self.styles = [(styles or {}).get(listing.groups[i], "") for i in chosen]
        self.even = not (by_name and styles)  # whose folders come one after the other
        covered: list[object] = [
            (key, right if several else right[0], *listing.stamps[i])
            for key, right, i in zip(self.keys, rights, chosen, strict=True)
        ]
        self.fingerprint = digest([border, covered] if border else covered)

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
        cut = self._border
        return image.crop((cut, cut, image.width - cut, image.height - cut)) if cut else image

    def reduced(self, index: int, side: int) -> Image.Image:
        return self.image(index) if self._border else self._listing.read(self._chosen[index], side)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, and the `group` that its name or table gives it."""

    group: str
    key: str
    stamp: tuple[int, int]


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file of many images: the name and the group of each, and what reads it.

    Attributes:
        encoded: Returns the bytes of image i, and its name in messages; from any thread.
        column: As that of `Listing`.
        label_names: As those of `Listing`.
    """

    names: Sequence[str]
    groups: Sequence[str]
    encoded: Callable[[int], tuple[bytes, str]]
    column: Callable[[str], Sequence[Any]]
    label_names: tuple[str, ...] = ()


def list_packed(
    source: Path, files: Sequence[Path], open_file: Callable[[Path], PackedFile], in_order: bool = False
) -> Listing:
    """List the images in the `files` at `source`, each as `open_file` opens it. A key is ``{file}/{name}``.

    Raises:
        UserError: A file cannot be read, or has other names of labels than the first.
    """
    opened: list[PackedFile] = []
    stamps: list[tuple[int, int]] = []
    with progress_bar(f"listing {source.name}", len(files), "files") as bar:
        for path in files:
            of_file = stamp(path)
            opened.append(open_file(path))
            stamps += [of_file] * len(opened[-1].names)
            if opened[-1].label_names != opened[0].label_names:
                raise UserError(
                    f"{path} and {files[0]} have different names for their labels: save them as one dataset"
                )
            bar.advance()
    keys = [f"{path.stem}/{name}" for path, file in zip(files, opened, strict=True) for name in file.names]
    groups = [group for file in opened for group in file.groups]
    where = [(file, place) for file in opened for place in range(len(file.names))]

    def encoded(index: int) -> tuple[bytes, str]:
        file, place = where[index]
        return file.encoded(place)

    def column(name: str) -> list[Any]:
        values, lacking = list[Any](), list[NoColumn]()
        for file in opened:
            try:
                values += file.column(name)
            except NoColumn as error:
                lacking.append(error)
                values += [None] * len(file.names)
        if lacking and len(lacking) == len(opened):
            raise lacking[0]
        return values

    return Listing(source, keys, groups, stamps, encoded, in_order, column, opened[0].label_names)


def some_names(names: Iterable[str]) -> str:
    """Return up to ten names, from anywhere, for a message."""
    return ascii(some_of(names))[1:-1]


def list_folder(folder: Path, groups: Collection[str], classes: Collection[str] = ()) -> Listing:
    """List the images below the subfolders `groups` of `folder`, by extension, without hidden ones, in one pass.

    A key is the path below `folder`, with ``/``. Links are followed.

    Args:
        classes: The names of other classes, which no folder below a group may have.

    Raises:
        UserError: A folder cannot be read, an image is empty or no regular file, a link leads in a circle, or a folder
            of another class lies below a group.
    """

    def scan(group: str) -> list[ImageFile]:
        return [ImageFile(group, key, stamp(entry)) for key, entry in walk_images(folder, group)]

    scanned: list[ImageFile] = []
    with ThreadPoolExecutor(WORKERS) as pool, progress_bar(f"listing {folder.name}", len(groups), "folders") as bar:
        for images in pool.map(scan, groups):
            scanned += images
            bar.advance()
    log.info("%s: %d images in %d folders", folder, len(scanned), len(groups))
    _check_nested(folder, scanned, [*groups, *classes])
    return list_images(folder, scanned)


def list_files(folder: Path, group_of: Callable[[str], str]) -> Listing:
    """List the images of a `folder` without class folders, each under the group that `group_of` gives for its name."""
    return list_images(folder, [ImageFile(group_of(key), key, stamp(entry)) for key, entry in walk_images(folder)])


def _check_nested(folder: Path, scanned: Iterable[ImageFile], classes: Iterable[str]) -> None:
    """Raise UserError where a folder inside a class folder is called as another class; of a number, warn.

    A number may be that of a session or of a person, or else the outer one is: of the severity of a corruption.
    """
    names, numbered = {bare_name(PurePosixPath(name).name) for name in classes}, list[str]()
    nested = {(file.group, file.key.rpartition("/")[0]) for file in scanned if "/" in file.key[len(file.group) + 1 :]}
    for group, path in sorted(nested):
        own = bare_name(PurePosixPath(group).name)
        for part in path[len(group) + 1 :].split("/"):
            if own != bare_name(part) in names and part.isdecimal():
                numbered.append(path)
            elif own != bare_name(part) in names:
                problem = f"{folder / path} lies in the folder of the class {group!r}, and is called as another class"
                raise UserError(f"{problem}: move {part!r} out of {group!r}, or rename it if its images show {group!r}")
    if numbered:
        inner = some_of(numbered, 3)
        log.warning("%s: the images in %s are taken for those of the outer of two classes", folder, inner)


def list_images(
    folder: Path,
    scanned: Sequence[ImageFile],
    path: Path | None = None,
    column: Callable[[str], Sequence[Any]] | None = None,
) -> Listing:
    """List the files `scanned` in a `folder`; `path` is what names them, where it is not the folder."""
    keys = [file.key for file in scanned]
    groups, stamps = [file.group for file in scanned], [file.stamp for file in scanned]
    return Listing(path or folder, keys, groups, stamps, lambda i: (folder / keys[i], keys[i]), column=column)


def stamp(file: Path | os.DirEntry[str]) -> tuple[int, int]:
    """Return the bytes of a file and its time of change in ns.

    Raises:
        UserError: The file is missing, empty or no regular file.
    """
    with reading(os.fspath(file)):
        status = file.stat()
    if not stat.S_ISREG(status.st_mode):  # a named pipe would be waited for
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
