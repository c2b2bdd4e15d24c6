"""Writing that survives a kill: files that appear whole or not at all, and one writer a folder."""

from __future__ import annotations

import errno
import logging
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, Protocol

from genrobust.core.errors import DiskFull, GenrobustError, UserError

try:
    import fcntl
except ImportError:  # no POSIX: locks are files that exist
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
_BUSY = "another process is writing to {}: wait for it, stop it, or choose another folder"
log = logging.getLogger(__name__)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}


class Remote(Protocol):
    """What other machines have of a folder; see `mirror.Mirror`. Its methods raise GenrobustError that names an URL."""

    url: str

    def put(self, written: Path, path: Path) -> None:
        """Let the finished file `written` appear there as `path` does here: whole, or not at all."""

    def remove(self, path: Path) -> None:
        """Remove there what is `path` here, if it is there."""

    def fetch(self, folder: Path, patterns: Sequence[str], later: Sequence[str]) -> None: ...

    def bring(self, paths: Sequence[Path]) -> None: ...

    def size(self, path: Path) -> int | None:
        """The bytes of a file that `fetch` left for later; None where there is none."""

    def held(self, folder: Path, shared: bool, wait: bool, alone_here: bool) -> AbstractContextManager[None]:
        """Hold `folder` among machines, as `lock` does among processes; `alone_here`: no other here can hold it so."""


_remotes: dict[Path, Remote] = {}  # by the local folder that mirrors it


def attach(folder: Path, remote: Remote) -> None:
    """From now on in this process, what is written below `folder` goes to `remote` too, and first."""
    _remotes[folder] = remote


def remote_of(path: Path) -> Remote | None:
    """What the folder that `path` lies in mirrors, if it does."""
    return next((remote for folder, remote in _remotes.items() if path.is_relative_to(folder)), None)


def mirrors() -> bool:
    """Whether any folder of this process mirrors a remote."""
    return bool(_remotes)


def fetch(folder: Path, *patterns: str, later: Sequence[str] = ()) -> None:
    """Make the files of `folder` that match `patterns` those that other machines have, where it mirrors a remote.

    Names are relative to `folder`; hidden ones stay out of it. What matches the last pattern comes when all else is
    there: give it for the file that says that others are whole. Of what matches `later`, only what is outdated goes:
    `at_hand` and `bring` get those.
    """
    if (remote := remote_of(folder)) is not None:
        remote.fetch(folder, patterns, later)


def bring(paths: Sequence[Path]) -> None:
    """Get those of `paths` that are not here yet, where their folder mirrors a remote; several at once, with a bar."""
    if paths and (remote := remote_of(paths[0])) is not None:
        remote.bring(paths)


def at_hand(path: Path) -> Path:
    """`path`, which is fetched first where only the remote has it."""
    bring([path])
    return path


def size_of(path: Path) -> int:
    """The bytes of a file, also of one that was left for later; raises OSError where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        remote = remote_of(path)
        size = None if remote is None else remote.size(path)
        if size is None:
            raise
        return size


@contextmanager
def replacing(path: Path, mirrored: bool = True) -> Iterator[BinaryIO]:
    """Write a file that replaces `path` when the block ends well, and leaves no trace when it does not.

    The bytes go to a temporary name in the same folder and are on the disk before the rename, as is the rename before
    this returns. Where the folder mirrors a remote, the file appears there before it does here, so that what is here
    is there; unless it is not `mirrored`, being of use to this machine alone. Raises DiskFull where there is no room,
    and GenrobustError that names the folder, or the URL, where the system refuses otherwise (read-only ...).
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if mirrored and (remote := remote_of(path)) is not None:
            remote.put(part, path)
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise refusal(path.parent, error) from error
    finally:
        _remove(part)


def remove(path: Path) -> None:
    """Remove a file, if it is there: from the remote that its folder mirrors, and then here."""
    if (remote := remote_of(path)) is not None:
        remote.remove(path)
    path.unlink(missing_ok=True)


def write_files(contents: Mapping[str, str | bytes], folder: Path) -> dict[str, Path]:
    """Write `contents`, texts or bytes by name, into `folder`; returns their paths by name.

    Each file replaces its predecessor whole or not at all, and of two processes the second waits, so that the files
    belong together. Raises as `replacing` does.
    """
    make_folder(folder)
    with lock(folder, wait=True):
        remove_leftovers(folder)
        for name, content in contents.items():
            with replacing(folder / name) as file:
                file.write(content.encode() if isinstance(content, str) else content)
    return {name: folder / name for name in contents}


def leftovers(folder: Path, below: bool = False) -> list[Path]:
    """The temporary files in `folder`, and `below` it: a killed `replacing` left them, or one at work needs them."""
    return sorted((folder.rglob if below else folder.glob)(".*.part"))


def remove_leftovers(folder: Path, below: bool = False) -> None:
    """Remove what a killed `replacing` left in `folder`, and `below` it. Call it only while holding its lock alone."""
    for part in leftovers(folder, below):
        _remove(part)


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents; raises GenrobustError where the system refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(folder, error) from error


@contextmanager
def lock(
    folder: Path, shared: bool = False, wait: bool = False, mirrored: bool = True, writes: bool = False
) -> Iterator[None]:
    """Hold `folder` for the block; raises UserError where another process holds it, unless told to `wait` for it.

    Any number of processes may hold it `shared`, and none while one holds it alone. The system gives the lock of a
    killed process back. Where it has no such locks (Windows, some cluster file systems), `shared` and `wait` hold
    nothing, and a killed process leaves a file that the message says to delete.

    Where the folder mirrors a remote, it is held among machines too, but for what is not `mirrored`; of those who share
    it, by those alone who say that they write.
    """
    with _opened(folder / LOCK) as file:  # closing it gives the lock back; removing it would race with the next holder
        held = _flock(file, folder, shared, wait)
        with nullcontext() if held or shared or wait else _lock_by_existing(folder):
            remote = remote_of(folder) if mirrored and (writes or not shared) else None
            with nullcontext() if remote is None else remote.held(folder, shared, wait, held):
                yield


def _flock(file: BinaryIO, folder: Path, shared: bool, wait: bool) -> bool:
    """Whether the system's lock is now held; False where it has none. Raises UserError where another holds it."""
    if fcntl is None:
        return False
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise UserError(_BUSY.format(folder)) from None
        log.info("waiting for another process that writes to %s", folder)
        fcntl.flock(file, how)
    except OSError:  # ENOSYS, ENOLCK, EOPNOTSUPP: the file system does not lock
        return False
    return True


@contextmanager
def _lock_by_existing(folder: Path) -> Iterator[None]:
    path = folder / f"{LOCK}.held"
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        raise UserError(f"{_BUSY.format(folder)}; if no process is, delete {path}") from None
    try:
        yield
    finally:
        path.unlink()


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("ab")
    except OSError as error:
        raise refusal(path.parent, error) from error


def refusal(folder: Path, error: OSError) -> GenrobustError:
    """What to tell the user when the system refuses to write in `folder`."""
    why = error.strerror or str(error)
    if error.errno in _FULL:
        return DiskFull(
            f"cannot write to {folder}: {why}: free some space and run the same command again; what is there is whole"
        )
    if error.errno in _REFUSED:
        return UserError(f"cannot write to {folder}: {why}: choose a folder that you may write to")
    return GenrobustError(f"cannot write to {folder}: {why}: mend that and run the same command again")


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # such as a path below a regular file: there is nothing to remove
