"""Write files that appear whole or not at all, and lock folders for one writer."""

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

from genrobust.core import Busy, DiskFull, GenrobustError, UserError

LOCK = ".lock"
MANIFEST, UNFINISHED = "manifest.json", "unfinished.json"  # records of the files of an artifact
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOENT,
    errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.EBUSY, errno.ETXTBSY,
}  # fmt: skip
_PART = re.compile(r"\..+\.[0-9a-f]{8}\.part", re.DOTALL)  # names that `temporary` gives
# Errors of fsync on a folder of a file system that another machine shares.
_NO_FSYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF}


def temporary(path: Path) -> Path:
    """Return a new name next to `path` for a file that is renamed to `path` when it is complete."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file that replaces `path` if the block succeeds, and leaves no trace if it fails.

    The bytes go to a temporary name in the same folder. They are on the disk before the rename, and the rename is on
    the disk before this returns.

    Raises:
        DiskFull: The disk is full.
        UserError: `path` is no regular file. A rename would replace a link, for example.
        GenrobustError: The system refuses to write. The message names the folder.
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
        # Other files are the block's own.
        if error.filename not in (None, str(part), str(path), str(path.parent)):
            raise
        raise refusal(path.parent, error) from error
    finally:
        _remove(part)


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Report OSErrors in the block as errors about `path`. A closed pipe ends the program quietly."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        # Other files are the block's own.
        if error.filename not in (None, str(path), os.path.realpath(path)):
            raise
        raise refusal(path, error) from error


def leftovers(folder: Path, below: bool = False) -> list[Path]:
    """Return the temporary files in `folder`, of a killed or a running `replacing`."""
    candidates = folder.rglob(".*.part") if below else folder.glob(".*.part")
    return sorted(p for p in candidates if _PART.fullmatch(p.name) and p.is_file() and not p.is_symlink())


def remove_leftovers(folder: Path, below: bool = False, names: Collection[str] | None = None) -> None:
    """Remove temporary files of a killed `replacing` in `folder`. Call it only while holding the lock of the folder.

    Args:
        below: See `leftovers`.
        names: Remove only temporary files for these names. Give them for a folder of the user.
    """
    for part in leftovers(folder, below):
        if names is None or part.name[1 : -len(".01234567.part")] in names:
            _remove(part)


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents. Raise GenrobustError if the system refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(folder, error) from error


@contextmanager
def lock(folder: Path, wait: bool = False) -> Iterator[None]:
    """Lock `folder` for the block. Without a lock, two processes that do the same work waste time and lose nothing.

    The system frees the lock of a killed process. On a file system without locks (NFS without lockd), the existence of
    the file is the lock. Other machines that work at the same URL are not locked out.
    """
    from filelock import FileLock, Timeout

    held = FileLock(folder / LOCK, timeout=-1 if wait else 0)
    try:
        held.acquire()
    except Timeout:
        then = f"wait, stop it, or, if there is none, delete {folder / LOCK}"
        raise Busy(f"another process is writing to {folder}: {then}") from None
    except OSError as error:
        raise refusal(folder, error) from error
    try:
        yield
    finally:
        held.release()


def refusal(folder: Path, error: OSError, verb: str = "write to") -> GenrobustError:
    """Return the error for the user if the system refuses to `verb` `folder`."""
    why = f"cannot {verb} {folder}: {error.strerror or error}"
    if error.errno in _FULL:
        return DiskFull(f"{why}: free some space and run the same command again; completed files are intact")
    if error.errno in _REFUSED:
        if verb == "use":
            then = "check that it is there, and yours"
        else:
            then = "choose a folder that you may write to"
        return UserError(f"{why}: {then}")
    return GenrobustError(f"{why}: fix this and rerun")


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders
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
    with suppress(OSError):  # for example a path below a regular file
        path.unlink(missing_ok=True)
