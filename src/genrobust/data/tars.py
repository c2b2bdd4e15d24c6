"""WebDataset tars: an image and its class as files of one key (``key.jpg``, ``key.cls``), read at their offsets."""

from __future__ import annotations

import tarfile
from collections.abc import Hashable, Iterator, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from PIL import Image

from genrobust.core import UserError, parse_json, progress_bar, reading
from genrobust.data.file_list import Listing, require_new, some_names, stamp
from genrobust.data.reading import FORMATS, LARGEST_FILE, UNREAD, read_image
from genrobust.data.shard_files import check_tar

LARGEST_LABEL = 2**24  # bytes of a .cls or .json: far more than a class and what is known of an image
# What tarfile and the parsers of labels raise where a tar is damaged or made to do harm.
DAMAGED = (tarfile.TarError, ValueError, LookupError, OverflowError, EOFError, RecursionError, MemoryError)


class _Image(NamedTuple):
    """An image in a tar: its bytes are [offset, offset + size) of it; those of its JSON are at `facts`, if any."""

    key: str
    label: str
    offset: int
    size: int
    facts: tuple[int, int] | None


def list_tars(source: Path, tars: Sequence[Path], labeled: bool = True) -> Listing:
    """List the images in `tars`, which lie at `source`; a group is the text in ``.cls``, or the "label" in ``.json``.

    Only headers and labels are read, and genrobust's own shards compared with their hashes; unless the images are
    `labeled`, no labels either, and all are of the group "". A key is ``{tar}/{key}``.

    Raises:
        UserError: A tar is compressed, damaged, truncated or listed twice, an image has no class, a key or a file comes
            twice, a link stands in place of a file, or a path leaves the tar. The message names the tar and the key.
    """
    images: list[_Image] = []
    where: list[Path] = []
    stamps: list[tuple[int, int]] = []
    seen: dict[Hashable, Path] = {}
    with progress_bar(f"listing {source.name}", len(tars), "tars") as bar:
        for tar in tars:
            of_tar = stamp(tar)
            check_tar(tar)
            found = _images_in(tar, labeled)
            require_new(tar, (of_tar[0], hash(tuple(found))), seen)
            images += found
            where += [tar] * len(found)
            stamps += [of_tar] * len(found)
            bar.advance()
    keys = [f"{tar.stem}/{image.key}" for tar, image in zip(where, images, strict=True)]

    def read(index: int) -> Image.Image:
        tar, image = where[index], images[index]
        with reading(tar), tar.open("rb") as file:
            data = _bytes(file, image.offset, image.size)
        return read_image(data, name=f"{keys[index]} of {tar}")

    def column(name: str) -> list[Any]:
        of_tars = groupby(zip(where, images, strict=True), key=lambda pair: pair[0])
        facts = [of_image for tar, pairs in of_tars for of_image in _facts(tar, [image for _, image in pairs])]
        if not any(name in of_image for of_image in facts):
            known = some_names(dict.fromkeys(key for of_image in facts for key in of_image))
            there = f"they have {known}; name one of these" if known else "there are none"
            raise UserError(f"{source}: no .json of an image has the key {name!r}: {there}")
        return [of_image.get(name) for of_image in facts]

    return Listing(source, keys, [image.label for image in images], stamps, read, column=column)


def _images_in(tar: Path, labeled: bool) -> list[_Image]:
    images: dict[str, tuple[int, int]] = {}
    told: dict[str, str] = {}  # by key, a member that says that there is an image
    facts: dict[str, tuple[int, int]] = {}
    labels: dict[str, dict[str, str]] = {"cls": {}, "json": {}} if labeled else {}
    what = f"{tar} as a WebDataset tar (they are not compressed)"
    with reading(what, *DAMAGED), tar.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:") as file:
        for member in _members(tar, file, raw):
            path = PurePosixPath(member.name)
            stem, _, extension = path.name.partition(".")  # WebDataset's rule: a key ends at the first dot
            key = str(path.parent / stem)
            to = images if f".{extension.lower()}" in FORMATS else labels.get(extension)
            if not stem or member.isdir():
                continue
            if extension == "cls" or path.suffix.lower() in {*FORMATS, *UNREAD}:
                told.setdefault(key, member.name)
            if to is None:
                continue
            _check(tar, member, path, LARGEST_FILE if to is images else LARGEST_LABEL)
            if key in to:
                kind = "image" if to is images else f".{extension} file"
                raise UserError(f"{tar}: the key {key!r} has a second {kind}, {member.name!r}: give each its own key")
            if to is images:
                images[key] = member.offset_data, member.size
            else:
                labels[extension][key] = _bytes(raw, member.offset_data, member.size).decode("utf-8-sig")
                if extension == "json":
                    facts[key] = member.offset_data, member.size
        if lost := [name for key, name in told.items() if key not in images]:
            more = f" and {len(lost) - 1:,} others" if lost[1:] else ""
            raise UserError(
                f"{tar}: {lost[0]!r}{more}: no image of this key is read. A key ends at the first dot, and the rest of "
                f"an image's name must be one of {', '.join(FORMATS)}"
            )
        of_images = ((key, _label(tar, key, labels) if labels else "", place) for key, place in images.items())
        return [_Image(key, label, *place, facts.get(key)) for key, label, place in of_images]


def _facts(tar: Path, images: Sequence[_Image]) -> Iterator[dict[str, Any]]:
    """Yield the content of the JSON beside each image; {} where there is none."""
    with reading(tar), tar.open("rb") as file:
        for image in images:
            with reading(f"{image.key}.json in {tar}", *DAMAGED):
                found = parse_json(_bytes(file, *image.facts)) if image.facts else {}
            yield found if isinstance(found, dict) else {}


def _members(tar: Path, file: tarfile.TarFile, raw: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """The members of a tar that ends as it should: tarfile takes a damaged header, and the end of the file, for one."""
    before = -1
    while (member := file.next()) is not None:
        file.members.clear()  # type: ignore[attr-defined]  # it keeps all, a kilobyte each
        if member.size < 0 or member.offset <= before:
            raise tarfile.ReadError(f"the header of {member.name!r} is damaged")
        before = member.offset
        yield member
    raw.seek(file.offset)  # type: ignore[attr-defined]
    if raw.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise UserError(f"{tar} is damaged or truncated at byte {file.offset:,}: get it again")  # type: ignore[attr-defined]
    while rest := raw.read(2**20):
        if rest.strip(b"\0"):
            raise UserError(f"{tar} holds more after its end, as joined tars do: pack its files into one tar again")


def _check(tar: Path, member: tarfile.TarInfo, path: PurePosixPath, largest: int) -> None:
    what = f"{tar}: {member.name!r}"
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{what} leads out of the tar: pack it with relative paths below one folder")
    if member.issym() or member.islnk():
        raise UserError(f"{what} is a link, to {member.linkname!r}: pack it with --dereference --hard-dereference")
    if not member.isreg() or member.issparse():
        raise UserError(f"{what} is no plain file but a device, a pipe or sparse: pack it without")
    if member.size > largest:
        raise UserError(f"{what} has {member.size:,} bytes, more than the {largest:,} that any such file needs")


def _bytes(file: IO[bytes], offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _label(tar: Path, key: str, labels: dict[str, dict[str, str]]) -> str:
    where = f"{tar}: the image {key}"
    label: object = labels["cls"].get(key, "").strip()
    if (text := labels["json"].get(key)) is not None and (not label or '"class_id"' in text):
        found = parse_json(text)
        facts = found if isinstance(found, dict) else {}
        label = label or facts.get("label")
        if str(facts.get("label")) == label and isinstance(facts.get("class_id"), str):
            return str(facts["class_id"])  # of a number, as in genrobust's own shards and exports
    if label is None or label == "":
        raise UserError(f"{where} has no class: it needs {key}.cls, or a label in {key}.json")
    if isinstance(label, bool) or not isinstance(label, str | int) or str(label).startswith("-"):
        raise UserError(f"{where} has the label {str(label)[:50]!r}: it must be a name, or a number from 0 on")
    return str(label)
