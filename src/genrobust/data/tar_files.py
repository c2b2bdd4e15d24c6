"""List images in WebDataset tars: an image and its class are files of one key (``key.jpg``, ``key.cls``).

tarfile reads the headers, and each image is read at its offset. The library `webdataset` reads tars as streams, in its
own order, and skips damaged parts.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from genrobust.core import NoColumn, UserError, parse_json, reading
from genrobust.data.image_files import FORMATS, UNREAD
from genrobust.data.listing import Listing, PackedFile, list_packed, some_names
from genrobust.data.shard_files import check_tar

KINDS = ("image", "cls", "json")  # kinds of the files of a key
# Exceptions of tarfile and of the parsers of labels on a tar that is damaged or made to do harm.
DAMAGED = (tarfile.TarError, ValueError, LookupError, OverflowError, EOFError, RecursionError, MemoryError)


class _Place(NamedTuple):
    """A file in a tar, in bytes."""

    offset: int
    size: int


_Files = dict[str, _Place]  # files of a key by kind, one of KINDS


class _Image(NamedTuple):
    key: str
    label: str
    place: _Place
    json: _Place | None


def list_tars(source: Path, tars: Sequence[Path], labeled: bool = True) -> Listing:
    """List the images in the `tars` at `source`. A group is the text in ``.cls``, or "label" in ``.json``.

    Only headers and labels are read. Without labels, all images are in the group "". Shards that genrobust wrote are
    compared with their hashes.
    """
    return list_packed(source, tars, lambda tar: _open_tar(tar, labeled))


def _open_tar(tar: Path, labeled: bool) -> PackedFile:
    check_tar(tar)
    images = _list_members(tar, labeled)

    def encoded(place: int) -> tuple[bytes, str]:
        image = images[place]
        with reading(tar), tar.open("rb") as file:
            return _read_at(file, image.place), f"{image.key} of {tar}"

    def column(name: str) -> list[Any]:
        facts = list(_read_json(tar, images))
        if not any(name in of_image for of_image in facts):
            keys = dict.fromkeys(key for of_image in facts for key in of_image)
            if keys:
                there = f"they have {some_names(keys)}; name one of these"
            else:
                there = "there are none"
            raise NoColumn(f"{tar}: no .json of an image has the key {name!r}: {there}")
        return [of_image.get(name) for of_image in facts]

    return PackedFile([image.key for image in images], [image.label for image in images], encoded, column)


def _list_members(tar: Path, labeled: bool) -> list[_Image]:
    images = []
    with reading(f"{tar} as a WebDataset tar (they are not compressed)", *DAMAGED), tar.open("rb") as raw:
        for key, files in _samples(tar, raw, KINDS if labeled else ("image",)):
            label = _read_label(tar, raw, key, files) if labeled else ""
            images.append(_Image(key, label, files["image"], files.get("json")))
    return images


def _samples(tar: Path, raw: IO[bytes], kinds: Sequence[str]) -> list[tuple[str, _Files]]:
    """Return the keys that have an image, in the order of the images, with their files of these `kinds`."""
    samples: dict[str, _Files] = {}
    image_names: dict[str, str] = {}  # by key: a member that shows that the key should have an image
    with tarfile.open(fileobj=raw, mode="r:") as file:
        for member in _members(tar, file, raw):
            path = PurePosixPath(member.name)
            # In WebDataset, a key ends at the first dot.
            stem, _, extension = path.name.partition(".")
            if not stem or member.isdir():
                continue
            key = str(path.parent / stem)
            kind = "image" if f".{extension.lower()}" in FORMATS else extension
            if kind == "cls" or path.suffix.lower() in {*FORMATS, *UNREAD}:
                image_names.setdefault(key, member.name)
            if kind in kinds:
                _check_member(tar, member, path)
                files = samples.setdefault(key, {})
                if kind in files:
                    what = kind if kind == "image" else f".{kind} file"
                    raise UserError(f"{tar}: the key {key!r} has a second {what}, {member.name!r}: rename it")
                files[kind] = _Place(member.offset_data, member.size)
    _require_images(tar, samples, image_names)
    with_image = [(key, files) for key, files in samples.items() if "image" in files]
    return sorted(with_image, key=lambda sample: sample[1]["image"])


def _require_images(tar: Path, samples: dict[str, _Files], image_names: dict[str, str]) -> None:
    """Raise UserError for a key that should have an image and has none."""
    lost = [name for key, name in image_names.items() if "image" not in samples.get(key, {})]
    if lost:
        others = f" and {len(lost) - 1:,} others" if len(lost) > 1 else ""
        then = f"the rest of an image's name, after the first dot, is one of {', '.join(FORMATS)}"
        raise UserError(f"{tar}: {lost[0]!r}{others}: no image of this key is read: {then}")


def _members(tar: Path, file: tarfile.TarFile, raw: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar that ends as it should.

    tarfile takes a damaged header for the end of the file. So check the end.
    """
    last_offset = -1
    while (member := file.next()) is not None:
        # Forget the member: tarfile keeps all of them, a kilobyte each.
        file.members.clear()  # type: ignore[attr-defined]
        if member.size < 0 or member.offset <= last_offset:
            raise tarfile.ReadError(f"the header of {member.name!r} is damaged")
        last_offset = member.offset
        yield member
    end: int = file.offset  # type: ignore[attr-defined]
    raw.seek(end)
    if raw.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise UserError(f"{tar} is damaged or truncated at byte {end:,}: get it again")
    while rest := raw.read(2**20):
        if rest.strip(b"\0"):
            raise UserError(f"{tar} holds more after its end, as joined tars do: pack its files into one tar again")


def _check_member(tar: Path, member: tarfile.TarInfo, path: PurePosixPath) -> None:
    subject = f"{tar}: {member.name!r}"
    if member.issym() or member.islnk():
        raise UserError(f"{subject} is a link, to {member.linkname!r}: pack it with --dereference --hard-dereference")
    if not member.isreg() or member.issparse() or path.is_absolute() or ".." in path.parts:
        raise UserError(f"{subject} is no plain file below the root of the tar: pack plain files with relative paths")


def _read_at(file: IO[bytes], place: _Place) -> bytes:
    file.seek(place.offset)
    return file.read(place.size)


def _read_json(tar: Path, images: Sequence[_Image]) -> Iterator[dict[str, Any]]:
    """Yield the JSON object next to each image, {} if there is none."""
    with reading(tar), tar.open("rb") as file:
        for image in images:
            facts: Any = {}
            if image.json is not None:
                with reading(f"{image.key}.json in {tar}", *DAMAGED):
                    facts = parse_json(_read_at(file, image.json))
            yield facts if isinstance(facts, dict) else {}


def _read_label(tar: Path, raw: IO[bytes], key: str, files: _Files) -> str:
    label: object = _read_text(raw, files.get("cls")).strip()
    json_text = _read_text(raw, files.get("json"))
    # Most JSON files need no parsing if there is a .cls file.
    if json_text and (not label or '"class_id"' in json_text):
        facts = parse_json(json_text)
        facts = facts if isinstance(facts, dict) else {}
        label = label or facts.get("label")
        # The shards and exports of genrobust have the number of the class, and its id.
        if str(facts.get("label")) == label and isinstance(facts.get("class_id"), str):
            return str(facts["class_id"])
    if label is None or label == "":
        raise UserError(f"{tar}: the image {key} has no class: it needs {key}.cls, or a label in {key}.json")
    if isinstance(label, bool) or not isinstance(label, str | int) or str(label).startswith("-"):
        raise UserError(f"{tar}: the image {key} has the label {str(label)[:50]!r}, which is no name or number")
    return str(label)


def _read_text(raw: IO[bytes], place: _Place | None) -> str:
    if place is None:
        return ""
    return _read_at(raw, place).decode("utf-8-sig")
