"""WebDataset tars: an image and its class as files of one key (``key.jpg``, ``key.cls``), read at their offsets."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from genrobust.core import UserError, progress_bar, reading
from genrobust.data.file_list import Listing, stamp
from genrobust.data.reading import FORMATS, read_image
from genrobust.data.shard_files import check_listed


def list_tars(source: Path, tars: Sequence[Path]) -> Listing:
    """List the images in `tars`, which lie at `source`; a group is the number in ``.cls``, or the "label" in ``.json``.

    Only headers and labels are read, and genrobust's own shards compared with their hashes. A key is ``{tar}/{key}``.
    Raises UserError that names the tar and the key: compressed or damaged tars, an image without a class.
    """
    keys: list[str] = []
    groups: list[str] = []
    where: list[tuple[Path, int, int]] = []
    stamps: list[tuple[int, int]] = []
    with progress_bar(f"listing {source.name}", len(tars), "tars") as bar:
        for tar in tars:
            of_tar = stamp(tar)
            check_listed(tar)
            for key, label, offset, size in _members(tar):
                keys.append(f"{tar.stem}/{key}")
                groups.append(label)
                where.append((tar, offset, size))
                stamps.append(of_tar)
            bar.advance()

    def read(index: int) -> Image.Image:
        tar, offset, size = where[index]
        with reading(tar), tar.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        return read_image(data, name=f"{keys[index]} of {tar}")

    return Listing(source, keys, groups, stamps, read)


def _members(tar: Path) -> Iterator[tuple[str, str, int, int]]:
    """Key, class, offset and size of each image in `tar`."""
    images: dict[str, tuple[int, int]] = {}
    classes: dict[str, str] = {}
    what = f"{tar} as a WebDataset tar (they are not compressed)"
    with reading(what, tarfile.TarError, ValueError), tarfile.open(tar, mode="r:") as file:
        for member in file:
            path = PurePosixPath(member.name)
            stem, _, extension = path.name.partition(".")  # WebDataset's rule: a key ends at the first dot
            key = str(path.parent / stem)
            if f".{extension.lower()}" in FORMATS:
                images[key] = (member.offset_data, member.size)
            elif extension == "cls" or (extension == "json" and key not in classes):
                label = _label(file, member, extension)
                if label is not None:
                    classes[key] = label
    for key, (offset, size) in images.items():
        if key not in classes:
            raise UserError(f"{tar}: the image {key} has no class: it needs {key}.cls, or a label in {key}.json")
        yield key, classes[key], offset, size


def _label(file: tarfile.TarFile, member: tarfile.TarInfo, extension: str) -> str | None:
    data = file.extractfile(member)
    text = data.read().decode() if data else ""
    if extension == "cls":
        return text.strip()
    facts = json.loads(text)
    label = facts.get("label") if isinstance(facts, dict) else None
    return None if label is None else str(label)
