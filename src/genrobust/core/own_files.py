"""The files that genrobust wrote into a folder of the user's: it replaces, removes and publishes no others."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from genrobust.core.errors import UserError, reading
from genrobust.core.files import lock, make_folder, remove_leftovers, replacing
from genrobust.core.keys import hash_file
from genrobust.core.sealing import sealed, unsealed

FILE_LIST = ".genrobust.files"  # not .json, which would be part of the hash of a classifier's folder

Listed = Mapping[str, Sequence[str]]  # the SHA-256 that each file may have, by its path in the folder


def file_list(files: Listed) -> bytes:
    """Return the content of a `FILE_LIST`."""
    return sealed({"files": {name: list(hashes) for name, hashes in sorted(files.items())}})


def read_file_list(folder: Path) -> dict[str, list[str]]:
    """Read the `FILE_LIST` in `folder`; {} where there is none.

    Raises:
        UserError: It was damaged or edited, or names a file outside the folder.
    """
    path = folder / FILE_LIST
    if not os.path.lexists(path):
        return {}
    then = ": nothing there is replaced or removed; name another folder, or delete it yourself"
    with reading(path, ValueError, KeyError, TypeError, AttributeError, then=then):
        if not _is_regular(path):
            raise ValueError("it is a link, or no file")
        files = {name: list(map(str, hashes)) for name, hashes in unsealed(path.read_bytes())["files"].items()}
        if outside := [name for name in files if not _is_inside(name)]:
            raise ValueError(f"it names a file outside the folder: {outside[0]!r}")
        return files


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


def write_files(contents: Mapping[str, str | bytes], folder: Path) -> dict[str, Path]:
    """Write `contents`, texts or bytes by name, into `folder`, and return their paths by name.

    Each file is replaced as `replacing` does. A second process waits, so that the files belong together.

    Raises:
        UserError: A file of one of the names is there that genrobust did not write, or that was changed since.
        DiskFull, GenrobustError: There is no room; the system or the remote refuses otherwise.
    """
    new = {name: content.encode() if isinstance(content, str) else content for name, content in contents.items()}
    make_folder(folder)
    with lock(folder, wait=True):
        remove_leftovers(folder, names=(*new, FILE_LIST))
        files = read_file_list(folder)
        for name in new:
            if os.path.lexists(folder / name) and not is_own(folder, name, files):
                raise UserError(
                    f"{folder / name} was not written by genrobust, or was changed since: move or rename it, or choose "
                    "another folder"
                )
        # The list first: a kill between two files leaves some that are as they were before, and some that are new.
        for name, content in new.items():
            before = [hash_file(folder / name)] if (folder / name).exists() else []
            files[name] = [hashlib.sha256(content).hexdigest(), *before]
        for name, content in {FILE_LIST: file_list(files), **new}.items():
            with replacing(folder / name, mirrored=name != FILE_LIST) as file:  # the list is of the files here
                file.write(content)
    return {name: folder / name for name in new}


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return str(path) == name and name != "." and not path.is_absolute() and ".." not in path.parts and "\0" not in name
