"""WebDataset tars: an image and its class as files of one key (``key.jpg``, ``key.cls``), read at their offsets.

tarfile reads them. `webdataset` reads them as streams, in their own order, and passes over what is damaged.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from genrobust.core import NoColumn, UserError, parse_json, reading
from genrobust.data.file_list import Listing, PackedFile, list_packed, some_names
from genrobust.data.reading import FORMATS, UNREAD
from genrobust.data.shard_files import check_tar

KINDS = ("image", "cls", "json")  # of the files of a key
# What tarfile and the parsers of labels raise where a tar is damaged or made to do harm.
DAMAGED = (tarfile.TarError, ValueError, LookupError, OverflowError, EOFError, RecursionError, MemoryError)

_Place = tuple[int, int]  # the offset and size of a file
_Files = dict[str, _Place]  # of a key, by their kind: one of KINDS


class _Image(NamedTuple):
    key: str
    label: str
    place: _Place
    json: _Place | None


def list_tars(source: Path, tars: Sequence[Path], labeled: bool = True) -> Listing:
    """List the images in `tars`, which lie at `source`; a group is the text in ``.cls``, or the "label" in ``.json``.

    Only headers and labels are read, and genrobust's own shards compared with their hashes; unless the images are
    `labeled`, no labels either, and all are of the group "".

    Raises:
        UserError: A tar is compressed, damaged or truncated, an image has no class, a key or a file comes
            twice, a link stands in place of a file, or a path leaves the tar. The message names the tar and the key.
    """
    return list_packed(source, tars, lambda tar: _open(tar, labeled))


def _open(tar: Path, labeled: bool) -> PackedFile:
    check_tar(tar)
    images = _images_in(tar, labeled)

    def encoded(place: int) -> tuple[bytes, str]:
        with reading(tar), tar.open("rb") as file:
            return _read_at(file, images[place].place), f"{images[place].key} of {tar}"

    def column(name: str) -> list[Any]:
        facts = [*_json_facts(tar, images)]
        if not any(name in of_image for of_image in facts):
            known = some_names(dict.fromkeys(key for of_image in facts for key in of_image))
            there = f"they have {known}; name one of these" if known else "there are none"
            raise NoColumn(f"{tar}: no .json of an image has the key {name!r}: {there}")
        return [of_image.get(name) for of_image in facts]

    return PackedFile([image.key for image in images], [image.label for image in images], encoded, column)


def _images_in(tar: Path, labeled: bool) -> list[_Image]:
    with reading(f"{tar} as a WebDataset tar (they are not compressed)", *DAMAGED), tar.open("rb") as raw:
        samples = _samples(tar, raw, KINDS if labeled else KINDS[:1])
        return [
            _Image(key, _label(tar, raw, key, files) if labeled else "", files["image"], files.get("json"))
            for key, files in samples
        ]


def _samples(tar: Path, raw: IO[bytes], kinds: Sequence[str]) -> list[tuple[str, _Files]]:
    """The keys that have an image, in the order of the images, with their files of these `kinds`."""
    samples: dict[str, _Files] = {}
    named: dict[str, str] = {}  # by key, a member that says that there is an image
    with tarfile.open(fileobj=raw, mode="r:") as file:
        for member in _members(tar, file, raw):
            path = PurePosixPath(member.name)
            stem, _, extension = path.name.partition(".")  # WebDataset's rule: a key ends at the first dot
            if not stem or member.isdir():
                continue
            key, kind = str(path.parent / stem), "image" if f".{extension.lower()}" in FORMATS else extension
            if kind == "cls" or path.suffix.lower() in {*FORMATS, *UNREAD}:
                named.setdefault(key, member.name)
            if kind in kinds:
                _check_member(tar, member, path)
                if kind in samples.setdefault(key, {}):
                    duplicate = f"{kind if kind == 'image' else f'.{kind} file'}, {member.name!r}"
                    raise UserError(f"{tar}: the key {key!r} has a second {duplicate}: give each its own key")
                samples[key][kind] = member.offset_data, member.size
    if lost := [name for key, name in named.items() if "image" not in samples.get(key, {})]:
        more = f" and {len(lost) - 1:,} others" if lost[1:] else ""
        raise UserError(
            f"{tar}: {lost[0]!r}{more}: no image of this key is read. A key ends at the first dot, and the rest of "
            f"an image's name must be one of {', '.join(FORMATS)}"
        )
    with_image = [(key, files) for key, files in samples.items() if "image" in files]
    return sorted(with_image, key=lambda sample: sample[1]["image"])


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


def _check_member(tar: Path, member: tarfile.TarInfo, path: PurePosixPath) -> None:
    subject = f"{tar}: {member.name!r}"
    if member.issym() or member.islnk():
        raise UserError(f"{subject} is a link, to {member.linkname!r}: pack it with --dereference --hard-dereference")
    if not member.isreg() or member.issparse() or path.is_absolute() or ".." in path.parts:
        raise UserError(f"{subject} is no plain file below the root of the tar: pack plain files with relative paths")


def _read_at(file: IO[bytes], place: _Place) -> bytes:
    file.seek(place[0])
    return file.read(place[1])


def _json_facts(tar: Path, images: Sequence[_Image]) -> Iterator[dict[str, Any]]:
    """Yield the content of the JSON beside each image; {} where there is none."""
    with reading(tar), tar.open("rb") as file:
        for image in images:
            with reading(f"{image.key}.json in {tar}", *DAMAGED):
                facts = parse_json(_read_at(file, image.json)) if image.json else {}
            yield facts if isinstance(facts, dict) else {}


def _label(tar: Path, raw: IO[bytes], key: str, files: _Files) -> str:
    text, about = (_read_at(raw, files[kind]).decode("utf-8-sig") if kind in files else "" for kind in ("cls", "json"))
    label: object = text.strip()
    if about and (not label or '"class_id"' in about):
        facts = parse_json(about)
        facts = facts if isinstance(facts, dict) else {}
        label = label or facts.get("label")
        if str(facts.get("label")) == label and isinstance(facts.get("class_id"), str):
            return str(facts["class_id"])  # of a number, as in genrobust's own shards and exports
    if label is None or label == "":
        raise UserError(f"{tar}: the image {key} has no class: it needs {key}.cls, or a label in {key}.json")
    if isinstance(label, bool) or not isinstance(label, str | int) or str(label).startswith("-"):
        problem = f"{tar}: the image {key} has the label {str(label)[:50]!r}"
        raise UserError(f"{problem}: it must be a name, or a number from 0 on")
    return str(label)
