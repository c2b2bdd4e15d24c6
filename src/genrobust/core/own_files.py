"""The files that genrobust wrote into a folder of the user's: it removes and publishes no others.

A report, or a page like it, replaces only one about the same; any other is first kept below `EARLIER`.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from genrobust.core.errors import UserError, reading
from genrobust.core.files import fetch, fetch_file, lock, make_folder, remove_leftovers, replacing, size_of
from genrobust.core.keys import digest, hash_file
from genrobust.core.sealing import sealed, unsealed

log = logging.getLogger(__name__)

EARLIER = "earlier"  # the folder beside a report that holds those before it
FILE_LIST = ".genrobust.files"  # not .json, which would be part of the hash of a classifier's folder

Listed = Mapping[str, Sequence[str]]  # the SHA-256 that each file may have, by its path in the folder


def file_list(files: Listed) -> bytes:
    """Return the content of a `FILE_LIST`."""
    return sealed(_listed(files))


def _listed(files: Listed) -> dict[str, Any]:
    return {"files": {name: list(hashes) for name, hashes in sorted(files.items())}}


def read_file_list(folder: Path) -> dict[str, list[str]]:
    """Read the `FILE_LIST` in `folder`; {} where there is none.

    Raises:
        UserError: It was damaged or edited, or names a file outside the folder.
    """
    return _read(folder)[0]


def _read(folder: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Read the files in a `FILE_LIST`, and what each of them is about as far as that is known."""
    path = folder / FILE_LIST
    if not os.path.lexists(path):
        return {}, {}
    then = ": nothing there is replaced or removed; name another folder, or delete it yourself"
    with reading(path, ValueError, KeyError, TypeError, AttributeError, then=then):
        if not _is_regular(path):
            raise ValueError("it is a link, or no file")
        found = unsealed(path.read_bytes())
        files = {name: list(map(str, hashes)) for name, hashes in found["files"].items()}
        if outside := [name for name in files if not _is_inside(name)]:
            raise ValueError(f"it names a file outside the folder: {outside[0]!r}")
        return files, {name: str(about) for name, about in found.get("about", {}).items()}


def is_own(folder: Path, name: str, files: Listed) -> bool:
    """Return whether the file `name` in `folder` is as genrobust wrote it by the list `files`: no link, same bytes."""
    path = folder / name
    in_place = path.parent.resolve() == folder.resolve() / PurePosixPath(name).parent  # no folder on the way is a link
    return name in files and in_place and _is_regular(path) and hash_file(path) in files[name]


def foreign_files(folder: Path, files: Listed, compare: bool = True) -> Iterator[str]:
    """Describe what `folder` holds beside the list `files`: other files, links, empty folders and, with `compare`,
    files that have changed."""
    known = {FILE_LIST, *files}
    parents = {str(parent) for name in known for parent in PurePosixPath(name).parents}
    for root, folders, names in os.walk(folder):
        below = set(folders)
        for name in sorted((*folders, *names)):
            path = Path(root, name)
            inside = path.relative_to(folder).as_posix()
            if path.is_symlink() or inside not in (parents if name in below else known):
                yield f"{inside}, which genrobust did not write"
            elif compare and inside in files and not is_own(folder, inside, files):
                yield f"{inside}, which was changed after genrobust wrote it"


def write_files(contents: Mapping[str, str | bytes], folder: Path, about: object) -> dict[str, Path]:
    """Write `contents`, texts or bytes by name, into `folder`, and return their paths by name.

    They replace files that genrobust wrote `about` the same, and that nobody changed since. All other files of these
    names, together, are first copied to ``earlier/DATE-NUMBER`` in `folder`, which is logged. Each file appears whole
    or not at all, so that a kill loses none. A second process waits, so that the files belong together.

    Args:
        about: What tells these files from others of the same names, as JSON: such as recipe and scores, without times.

    Raises:
        UserError: A link, a folder or a device has one of the names, or the list of files was edited.
        DiskFull, GenrobustError: There is no room; the system or the remote refuses otherwise.
    """
    new = {name: content.encode() if isinstance(content, str) else content for name, content in contents.items()}
    topic = digest(about, 64)
    make_folder(folder)
    with lock(folder, wait=True):
        remove_leftovers(folder, names=(*new, FILE_LIST))
        fetch(folder, *new, FILE_LIST, later=[f"{EARLIER}/*"])
        files, topics = _read(folder)
        there = [name for name in new if os.path.lexists(folder / name)]
        for name in there:
            if not _is_regular(folder / name):
                raise UserError(f"{folder / name} is a link, a folder or a device: move it, or choose another folder")
        if not all(is_own(folder, name, files) and topics.get(name) == topic for name in there):
            _keep(folder, there)
        # The list first: a kill between two files leaves some that are as they were before, and some that are new.
        for name, content in new.items():
            before = [hash_file(folder / name)] if name in there else []
            files[name], topics[name] = [hashlib.sha256(content).hexdigest(), *before], topic
        for name, content in {FILE_LIST: sealed({**_listed(files), "about": topics}), **new}.items():
            with replacing(folder / name) as file:
                file.write(content)
    return {name: folder / name for name in new}


def _keep(folder: Path, names: Sequence[str]) -> None:
    """Copy the files `names` of `folder` to one below `EARLIER`: where a killed process did so, to the same one."""
    when = datetime.date.fromtimestamp(max((folder / name).stat().st_mtime for name in names))
    places = (folder / EARLIER / f"{when}-{number}" for number in count(1))
    place = next(place for place in places if all(_has_room(place / name, folder / name) for name in names))
    make_folder(place)
    for name in names:
        with (folder / name).open("rb") as old, replacing(place / name) as file:
            shutil.copyfileobj(old, file)
    log.warning("the earlier %s is kept, with its files, in %s", names[0], place)


def _has_room(path: Path, of: Path) -> bool:
    """Return whether there is no file `path`, or a copy `of` that one."""
    try:
        return size_of(path) == size_of(of) and hash_file(fetch_file(path)) == hash_file(of)
    except FileNotFoundError:
        return True


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return str(path) == name and name != "." and not path.is_absolute() and ".." not in path.parts and "\0" not in name
