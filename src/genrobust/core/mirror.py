"""Output at a URL: a local folder to work in, whose finished files go to the URL first, through fsspec.

What is here is there, so a kill between the two leaves the URL ahead, and `files.fetch` catches up. Each machine has a
folder of its own and shares the URL alone.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from genrobust.core.errors import GenrobustError, UserError, reading
from genrobust.core.files import LOCK, attach, leftovers, lock, make_folder, refusal, remote_of
from genrobust.core.machine import user_cache
from genrobust.core.named_files import expand_home
from genrobust.core.progress import progress_bar
from genrobust.core.remote import OBJECT_STORES, checked_url, file_system, is_one_of, translate_errors
from genrobust.core.sealing import sealed, unsealed

COPIES = "GENROBUST_COPIES"  # the environment variable that says where copies lie
MARK = ".genrobust.json"  # at the URL: its identity, so that a copy is never taken for one of another place
FETCHING = ".fetching"  # in a copy: unfinished downloads
AT_ONCE = 8  # downloads; s3fs reads a large file in ten parts by itself
BAR_FROM = 50_000_000  # bytes to fetch, for a bar to be shown
A_DAY_S = 86400.0  # what is unfinished for longer was left by a killed process
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")  # as file systems call it
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]+:/")  # of two letters or more: C:/ is a disk
_opened: dict[str, Mirror] = {}
_opening = threading.Lock()


def local_folder(out: Path | str) -> Path:
    """Return the folder to work in for an output, which is a path (``~/`` is the home folder) or a URL for fsspec.

    For a URL that is this machine's copy, below the folder that the environment variable `COPIES` names, or else below
    the user's cache.

    Raises:
        MissingPackage: The package of the file system is not installed.
        UserError: No such bucket, no credentials, no URL that can be written to, or a `Path` made of a URL.
        GenrobustError: The file system does not answer.
    """
    text = str(out)
    if not text.strip():
        raise UserError("the output folder has an empty name: name a folder, or . for the current one")
    if isinstance(out, Path) and _URL.match(text):
        raise UserError(f"{text} is a URL, and a folder is needed here: only commands of a study take URLs")
    if isinstance(out, Path) or not ("://" in text or _URL.match(text)):
        return Path(expand_home(text))
    scheme, rest = checked_url(text)
    if scheme == "file":
        return Path(rest)
    url = text.rstrip("/")
    with _opening:
        if url not in _opened:
            _opened[url] = Mirror(url)
    return _opened[url].folder


def address(folder: Path) -> Path | str:
    """Return what `local_folder` takes on another machine for `folder`: the URL that it mirrors, or itself."""
    remote = remote_of(folder)
    return folder if remote is None else remote.address


@dataclass(frozen=True, slots=True)
class Entry:
    """A remote file: its full name, its bytes, and when it was written, in whole seconds (None if unknown)."""

    key: str
    size: int
    when: int | None

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Entry:
        """Read what a file system lists of a file."""
        when = next((info[name] for name in _TIMES if info.get(name) is not None), None)
        if isinstance(when, str):
            when = datetime.fromisoformat(when)
        seconds = when.timestamp() if isinstance(when, datetime) else when
        return cls(str(info["name"]), int(info["size"]), None if seconds is None else int(seconds))

    def is_at(self, path: Path) -> bool:
        """Return whether `path` is a copy of this file, by its size and time."""
        try:
            found = path.stat()
        except OSError:
            return False
        return found.st_size == self.size and (self.when is None or int(found.st_mtime) == self.when)

    def date(self, path: Path) -> None:
        """Give `path` the time of this file."""
        if self.when is not None:
            os.utime(path, (self.when, self.when))


def without_password(url: str) -> str:
    """Return `url` without the user and password before its host, for names and messages."""
    return re.sub(r"^([A-Za-z0-9+.-]+://)[^/@:]*:.*@", r"\1", url)


class Mirror:
    """The files at `url` and their copy in `folder`, which lies below `copies` or this machine's default.

    Raises:
        MissingPackage: The package of the file system is not installed.
        UserError: There is no such bucket, there are no credentials, or the URL cannot be written to.
        GenrobustError: The file system does not answer.
    """

    def __init__(self, url: str, copies: Path | None = None) -> None:
        self.url, self.address = without_password(url), url  # the second is for other processes, and never shown
        self._fs, self._root = file_system(url)
        self._is_store = is_one_of(self._fs, OBJECT_STORES)
        with translate_errors(f"cannot use {self.url}"):
            identity = self._identity()
        name = re.sub(r"[^A-Za-z0-9]+", "-", self.url).strip("-")[:80]
        copies = copies or Path(os.environ.get(COPIES) or user_cache()).expanduser()
        self.folder = copies.absolute() / f"{name}-{identity[:8]}"
        make_folder(self.folder / FETCHING)
        self._later: dict[Path, Entry] = {}
        self._remove_old_leftovers()
        attach(self.folder, self)

    def put(self, written: Path, path: Path) -> None:
        """Upload the finished file `written` as the remote of `path`, which appears whole or not at all.

        `written` gets the time that the remote file has, by which `fetch` knows it.

        Raises:
            UserError: There is no such bucket, or there are no credentials.
            GenrobustError: The file system does not answer.
        """
        key = self._key(path)
        with translate_errors(f"cannot write {self._url(path)}"):
            if self._is_store:
                self._fs.put_file(str(written), key)
            else:
                parent, _, name = key.rpartition("/")
                part = f"{parent}/.{name}.{secrets.token_hex(4)}.part"
                self._fs.makedirs(parent, exist_ok=True)
                try:
                    self._fs.put_file(str(written), part)
                    self._fs.mv(part, key)
                except BaseException:
                    with suppress(Exception):  # whatever kind the file system raises
                        self._fs.rm_file(part)
                    raise
            Entry.of(self._fs.info(key)).date(written)

    def remove(self, path: Path) -> None:
        """Remove the remote of `path`, if any; raises GenrobustError where the remote refuses."""
        with translate_errors(f"cannot remove {self._url(path)}"):
            key = self._key(path)
            self._fs.invalidate_cache()
            with suppress(FileNotFoundError):
                if self._is_store or self._fs.exists(key):  # some raise other errors where there is none
                    self._fs.rm_file(key)

    def fetch(self, folder: Path, patterns: Sequence[str], later: Sequence[str]) -> None:
        """Download the files of `folder` that match `patterns`, and remove what has no remote; see `files.fetch`."""
        here = [p for p in folder.rglob("*") if p.is_file()]  # before the list: a file here was there first
        there = self._list(folder)
        for path in here:
            name = path.relative_to(folder).as_posix()
            waits, entry = _matches(name, later), there.get(name)
            gone = entry is None and (waits or _matches(name, patterns))
            if gone or (waits and entry is not None and not entry.is_at(path)):
                path.unlink(missing_ok=True)
        self._later |= {folder / name: entry for name, entry in there.items() if _matches(name, later)}
        wanted = {
            name: entry
            for name, entry in there.items()
            if _matches(name, patterns) and not _matches(name, later) and not entry.is_at(folder / name)
        }
        last = {name for name in wanted if _matches(name, patterns[-1:])}
        for names in (wanted.keys() - last, last):
            self._download({folder / name: wanted[name] for name in names})

    def fetch_files(self, paths: Sequence[Path]) -> None:
        """Download those of `paths` that are not here yet and that `fetch` left for later."""
        if all(path.exists() for path in paths):
            return
        # Many threads and processes of this machine may want the same: one fetches, and the others find it here.
        with lock(self.folder / FETCHING, wait=True):
            self._download({p: self._later[p] for p in paths if p in self._later and not p.exists()})

    def size(self, path: Path) -> int | None:
        """Return the bytes of a file that `fetch` left for later; None where there is none."""
        entry = self._later.get(path)
        return None if entry is None else entry.size

    def _download(self, wanted: Mapping[Path, Entry]) -> None:
        total, paths = sum(entry.size for entry in wanted.values()), sorted(wanted)
        shown = progress_bar(f"fetching {len(paths):,} files", total // 10**6, "MB")
        with shown if total >= BAR_FROM else nullcontext() as bar:
            for first in range(0, len(paths), AT_ONCE):
                some = {path: wanted[path] for path in paths[first : first + AT_ONCE]}
                self._download_together(some)
                if bar is not None:
                    bar.advance(sum(entry.size for entry in some.values()) // 10**6)

    def _download_together(self, wanted: Mapping[Path, Entry]) -> None:
        parts = {self.folder / FETCHING / secrets.token_hex(8): path for path in wanted}
        try:
            with translate_errors(f"cannot fetch files of {self.url}", self.folder):
                try:
                    self._fs.get([wanted[path].key for path in parts.values()], [str(part) for part in parts])
                except FileNotFoundError as error:
                    raise GenrobustError(f"a file of {self.url} was removed while it was fetched: rerun") from error
            for part, path in parts.items():
                if part.stat().st_size != wanted[path].size:
                    raise GenrobustError(f"{self._url(path)} came with too few or too many bytes: rerun")
                wanted[path].date(part)
                make_folder(path.parent)
                try:
                    part.replace(path)
                except OSError as error:
                    raise refusal(path.parent, error) from error
        finally:
            for part in parts:
                part.unlink(missing_ok=True)

    def _list(self, folder: Path) -> dict[str, Entry]:
        """Return the remote files in `folder` and below it, by their names from there."""
        key = self._key(folder)
        with translate_errors(f"cannot list {self._url(folder)}"):
            self._fs.invalidate_cache()
            # by default, a folder that cannot be listed is one without files
            strictly = {} if self._is_store else {"on_error": _raise_unless_missing}
            try:
                found: list[Any] = list(self._fs.find(key, detail=True, **strictly).values())
            except FileNotFoundError:
                found = []
        entries = {e.key.removeprefix(key).lstrip("/"): e for e in map(Entry.of, found)}
        return {name: entry for name, entry in entries.items() if name}

    def _identity(self) -> str:
        """Return the name of this place, which is written there once."""
        mark = f"{self._root}/{MARK}"
        self._fs.invalidate_cache()
        if not self._fs.exists(mark):
            if not self._is_store:
                self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(mark, sealed({"id": secrets.token_hex(16)}))
        found, then = self._fs.cat_file(mark), "; delete it, and each machine fetches the files of this place anew"
        with reading(f"{self.url}/{MARK}", ValueError, KeyError, then=then, kind=GenrobustError):
            return str(unsealed(found)["id"])

    def _remove_old_leftovers(self) -> None:
        for part in (*(self.folder / FETCHING).iterdir(), *leftovers(self.folder, below=True)):
            with suppress(OSError):  # it has just arrived
                if part.name != LOCK and time.time() - part.stat().st_mtime > A_DAY_S:
                    part.unlink()

    def _key(self, path: Path) -> str:
        relative = path.relative_to(self.folder).as_posix()
        return self._root if relative == "." else f"{self._root}/{relative}"

    def _url(self, path: Path) -> str:
        return self.url + self._key(path).removeprefix(self._root)


def _raise_unless_missing(error: OSError) -> None:
    """Say to fsspec's `walk` which errors of a listing count: not that of a folder that is removed meanwhile."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return name in patterns or (not re.search(r"(^|/)\.", name) and any(fnmatch(name, p) for p in patterns))
