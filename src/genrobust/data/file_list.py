"""Images listed before they are read, and the ImageSet that gives them the study's labels."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from genrobust.core import UserError, digest, progress_bar, reading
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
        read: Decodes image i, from any thread.
        in_order: Whether images are read fast in this order alone.
    """

    path: Path
    keys: Sequence[str]
    groups: Sequence[str]
    stamps: Sequence[tuple[int, int]]
    read: Callable[[int], Image.Image]
    in_order: bool = False


class ListedImages:
    """The images of a listing whose group is in `labels`, decoded when asked for: an ImageSet.

    The order is that of a hash of the keys, so that the first n of a class are a fair sample; that of the names where
    `by_name`; and the listing's where it asks for that. The fingerprint covers keys, stamps, labels and border.

    Args:
        labels: The study's labels that are right for a group: the first is the image's label, and `accepted` holds all
            of them where any group has several.
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
        border: int = 0,
        protocol: str = "",
    ) -> None:
        self.name, self.protocol, self._listing, self._border = name, protocol, listing, border
        chosen = [i for i, group in enumerate(listing.groups) if labels.get(group)]
        if not chosen:
            raise UserError(f"{listing.path} holds no image of a known class; what is read: {', '.join(FORMATS)}")
        if by_name or not listing.in_order:
            chosen.sort(key=lambda i: listing.keys[i] if by_name else _hash(listing.keys[i]))
        self._chosen = chosen
        self.keys: Sequence[str] = [listing.keys[i] for i in chosen]
        rights = [tuple(labels[listing.groups[i]]) for i in chosen]
        self.labels = np.array([right[0] for right in rights], dtype=np.int64)
        several = any(len(right) > 1 for right in rights)
        self.accepted: tuple[tuple[int, ...], ...] | None = tuple(rights) if several else None
        self.styles: Sequence[str] = [""] * len(chosen)
        covered: list[object] = [
            (key, right if several else right[0], *listing.stamps[i])
            for key, right, i in zip(self.keys, rights, chosen, strict=True)
        ]
        self.fingerprint = digest([border, covered] if border else covered)

    def __len__(self) -> int:
        return len(self.keys)

    def image(self, index: int) -> Image.Image:
        image = self._listing.read(self._chosen[index])
        cut = self._border
        return image.crop((cut, cut, image.width - cut, image.height - cut)) if cut else image


def list_folder(folder: Path, groups: Collection[str]) -> Listing:
    """List the images below the subfolders `groups` of `folder`, by extension, without hidden ones, in one pass.

    A key is the path below `folder`, with ``/``. Raises UserError for an unreadable folder and an empty file.
    """
    scanned: list[tuple[str, str, int, int]] = []
    with ThreadPoolExecutor(WORKERS) as pool, progress_bar(f"listing {folder.name}", len(groups), "folders") as bar:
        scans = pool.map(lambda group: _scan(folder, group), groups)
        for group, images in zip(groups, scans, strict=True):
            scanned += [(group, *image) for image in images]
            bar.advance()
    log.info("%s: %d images in %d folders", folder, len(scanned), len(groups))
    return _files(folder, scanned)


def list_files(folder: Path, group_of: Callable[[str], str]) -> Listing:
    """List the images of a `folder` without class folders, each under the group that `group_of` gives for its name."""
    return _files(folder, [(group_of(image[0]), *image) for image in _scan(folder)])


def _files(folder: Path, scanned: Sequence[tuple[str, str, int, int]]) -> Listing:
    """The listing of images whose group, key, bytes and time of change are known."""
    keys = [key for _, key, _, _ in scanned]
    stamps = [(size, time) for _, _, size, time in scanned]
    return Listing(folder, keys, [group for group, *_ in scanned], stamps, lambda i: read_image(folder / keys[i]))


def stamp(file: Path | os.DirEntry[str], what: str = "") -> tuple[int, int]:
    """Return the bytes of a file and its time of change in ns; raises UserError for one that cannot be read."""
    with reading(f"{what}{os.fspath(file)}"):
        status = file.stat()
    return status.st_size, status.st_mtime_ns


def _scan(folder: Path, below: str = "") -> list[tuple[str, int, int]]:
    """Key, bytes and time of change of each image below ``folder/below``."""
    found = []
    for key, entry in walk_images(folder, below):
        size, time = stamp(entry, "the image ")
        if size == 0:
            what = f"cannot read the image {entry.path}: it is empty (zero bytes)"
            raise UserError(f"{what}. Replace or remove it, then run again")
        found.append((key, size, time))
    return found


def _hash(key: str) -> bytes:
    try:
        return hashlib.sha256(key.encode()).digest()
    except UnicodeEncodeError:
        raise UserError(f"the file name {key!a} is no valid UTF-8: rename the file") from None
