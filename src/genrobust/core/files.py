"""Writing that survives a kill: files that appear whole or not at all, and one writer a folder."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from genrobust.core.errors import Busy, DiskFull, GenrobustError, UserError

LOCK = ".lock"
MANIFEST, UNFINISHED = "manifest.json", "unfinished.json"  # of artifacts: records of files, and no content
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOENT),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.EBUSY, errno.ETXTBSY),
}
_PART = re.compile(r"\..+\.[0-9a-f]{8}\.part", re.DOTALL)  # as `replacing` calls its temporary files
_NO_FSYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF}  # of folders, on a disk that another system shares


def temporary(path: Path) -> Path:
    """Return a new name beside `path` for a file that is renamed to it when it is whole."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file that replaces `path` when the block ends well, and leaves no trace when it does not.

    The bytes go to a temporary name in the same folder and are on the disk before the rename, as is the rename before
    this returns.

    Raises:
        DiskFull: The disk is full.
        UserError: `path` is no regular file, such as a link, which a rename would replace.
        GenrobustError: The system refuses otherwise; the message names the folder.
    """
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise UserError(f"{path} is a link, a folder or a device: remove it, or choose another folder")
    part = temporary(path)
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.filename not in (None, *map(str, (part, path, path.parent))):  # a file that the block opened
            raise
        raise refusal(path.parent, error) from error
    finally:
        _remove(part)


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Raise what the system refuses in the block as an error about `path`; a closed pipe ends the program quietly."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename not in (None, str(path), os.path.realpath(path)):  # a file that the block opened
            raise
        raise refusal(path, error) from error


def leftovers(folder: Path, below: bool = False) -> list[Path]:
    """Return the temporary files in `folder`, and `below` it: a killed `replacing` left them, or one at work."""
    candidates = (folder.rglob if below else folder.glob)(".*.part")
    return sorted(
        path for path in candidates if _PART.fullmatch(path.name) and path.is_file() and not path.is_symlink()
    )


def remove_leftovers(folder: Path, below: bool = False, names: Collection[str] | None = None) -> None:
    """Remove what a killed `replacing` left in `folder`, and `below` it. Call it only while holding its lock alone.

    In a folder of the user's, give the `names` of the files that are written there: theirs alone are removed.
    """
    for part in leftovers(folder, below):
        if names is None or part.name[1 : -len(".01234567.part")] in names:
            _remove(part)


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents; raises GenrobustError where the system refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(folder, error) from error


@contextmanager
def lock(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold `folder` for the block, as a courtesy: two who do the same work at once waste time, and lose nothing.

    The system frees the lock of a killed process. Where a file system has no locks (NFS without lockd), the lock is
    that its file exists. Another machine that works at the same URL is not excluded.

    Raises:
        UserError: Another process holds it, unless `wait` is set; or the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    held = FileLock(folder / LOCK, timeout=-1 if wait else 0)
    try:
        held.acquire()
    except Timeout:
        raise Busy(
            f"another process is writing to {folder}: wait for it, stop it, or choose another folder (where no process "
            f"does, delete {folder / LOCK})"
        ) from None
    except OSError as error:
        raise refusal(folder, error) from error
    try:
        yield
    finally:
        held.release()


def refusal(folder: Path, error: OSError, verb: str = "write to") -> GenrobustError:
    """Return what to tell the user when the system refuses to `verb` `folder`."""
    why = f"cannot {verb} {folder}: {error.strerror or error}"
    if error.errno in _FULL:
        return DiskFull(f"{why}: free some space and run the same command again; completed files are intact")
    if error.errno in _REFUSED:
        then = "check that it is there, and yours" if verb == "use" else "choose a folder that you may write to"
        return UserError(f"{why}: {then}")
    return GenrobustError(f"{why}: fix this and rerun")


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    with suppress(OSError):  # such as a path below a regular file: there is nothing to remove
        path.unlink(missing_ok=True)
