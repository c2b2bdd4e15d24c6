"""Output at an URL: a local folder is worked in, and what is made there goes to the URL first, through fsspec.

What is here is there, so a kill between the two leaves the URL ahead, and `files.fetch` mends that. Each machine has a
folder of its own and shares the URL alone.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from genrobust.core.errors import GenrobustError, UserError
from genrobust.core.files import LOCK, attach, leftovers, lock, make_folder, refusal, remote_of, replacing
from genrobust.core.keys import digest
from genrobust.core.lease import Lease
from genrobust.core.progress import progress_bar
from genrobust.core.remote import Entry, appears_whole, entry_of, file_system, told

COPIES = "GENROBUST_COPIES"  # the environment variable that says where copies lie
MARK = ".genrobust.json"  # at the URL: its identity, so that a copy is never taken for one of another place
FETCHING, COPY_ID = ".fetching", ".copy"  # in a copy: what is on its way, and the copy's own name
AT_ONCE = 8  # downloads; s3fs reads a large file in ten parts by itself
BAR_FROM = 50_000_000  # bytes to fetch, for a bar to be shown
A_DAY_S = 86400.0  # what is unfinished for longer was left by a killed process
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]+:/")  # of two letters or more: C:/ is a disk
_opened: dict[str, Mirror] = {}
_opening = threading.Lock()


def local_folder(out: Path | str) -> Path:
    """The folder to work in for an output that is named by a path or by the URL of a file system that fsspec knows.

    For an URL that is this machine's copy, below the folder that the environment variable `COPIES` names, or else below
    the user's cache. Raises MissingPackage where the file system's package is not installed, UserError where the place
    is not to be had (no such bucket, no credentials), and GenrobustError where it does not answer.
    """
    text = str(out)
    if isinstance(out, Path):
        if _URL.match(text):
            raise UserError(f"{text} is an URL, and a folder is wanted here: only commands of a study take URLs")
        return out
    if "://" not in text:
        return Path(text)
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    url = text.rstrip("/")
    with _opening:
        if url not in _opened:
            _opened[url] = Mirror(url)
    return _opened[url].folder


def address(folder: Path) -> Path | str:
    """What `local_folder` takes on another machine for `folder`: the URL that it mirrors, or itself."""
    remote = remote_of(folder)
    return folder if remote is None else remote.url


class Mirror:
    """What lies at `url`, and `folder`, where it is worked in: one of its own below `copies`, or this machine's.

    Opening it makes the URL known as a place of genrobust. Raises as `local_folder` does.
    """

    def __init__(self, url: str, copies: Path | None = None) -> None:
        self.url = url
        self._fs, self._root = file_system(url)
        self._whole = appears_whole(self._fs)
        with told(f"cannot use {url}"):
            identity = self._identity()
        name = re.sub(r"[^A-Za-z0-9]+", "-", url).strip("-")[:80]
        self.folder = (_copies() if copies is None else copies).absolute() / f"{name}-{identity[:8]}"
        make_folder(self.folder / FETCHING)
        self._copy = self._copy_id()
        self._left_for_later: dict[Path, Entry] = {}
        self._leases: dict[Path, Lease] = {}
        self._tidy()
        attach(self.folder, self)

    # ------------------------------------------------------------------------------------------- writing

    def put(self, written: Path, path: Path) -> None:
        """Let the finished file `written` appear there as `path` does here: whole, or not at all.

        It gets the time that it has there, by which `fetch` knows it. Raises GenrobustError where this machine's hold
        of the folder has lapsed, and as `local_folder` does.
        """
        self._check(path)
        key = self._key(path)
        with told(f"cannot write {self._url(path)}"):
            if self._whole:
                self._fs.put_file(str(written), key)
            else:
                parent, _, name = key.rpartition("/")
                part = f"{parent}/.{name}.{secrets.token_hex(4)}.part"
                self._fs.makedirs(parent, exist_ok=True)
                self._fs.put_file(str(written), part)
                self._fs.mv(part, key)
            entry = entry_of(self._fs.info(key))
        if entry.size != written.stat().st_size:
            raise GenrobustError(f"{self._url(path)} has {entry.size} bytes instead of {written.stat().st_size}")
        _set_time(written, entry)

    def remove(self, path: Path) -> None:
        """Remove there what is `path` here, if it is there; raises as `put` does where a hold has lapsed."""
        self._check(path)
        with told(f"cannot remove {self._url(path)}"):
            try:
                self._fs.rm_file(self._key(path))
            except FileNotFoundError:
                return

    def _check(self, path: Path) -> None:
        for folder, lease in tuple(self._leases.items()):
            if path.is_relative_to(folder):
                lease.check()

    # ------------------------------------------------------------------------------------------- reading

    def fetch(self, folder: Path, patterns: Sequence[str], later: Sequence[str]) -> None:
        """Make what matches `patterns` in `folder` what is there, as `files.fetch` says; what is not there goes."""
        here = [p for p in folder.rglob("*") if p.is_file()]  # before the list: by then it was there, or it has gone
        there = self._list(folder)
        for path in here:
            name = path.relative_to(folder).as_posix()
            waits, entry = _matches(name, later), there.get(name)
            gone = entry is None and (waits or _matches(name, patterns))
            if gone or (waits and entry is not None and not entry.is_at(path)):
                path.unlink(missing_ok=True)
        self._left_for_later |= {folder / n: entry for n, entry in there.items() if _matches(n, later)}
        wanted = {
            folder / name: entry
            for name, entry in there.items()
            if _matches(name, patterns) and not _matches(name, later) and not entry.is_at(folder / name)
        }
        last = {p: entry for p, entry in wanted.items() if _matches(p.relative_to(folder).as_posix(), patterns[-1:])}
        self._download({p: entry for p, entry in wanted.items() if p not in last})
        self._download(last)

    def bring(self, paths: Sequence[Path]) -> None:
        """Get those of `paths` that are not here yet and that `fetch` left for later, several at once."""
        if all(path.exists() for path in paths):
            return
        # Many threads and processes of this machine may want the same: one fetches, and the others find it here.
        with lock(self.folder / FETCHING, wait=True, mirrored=False):
            later = self._left_for_later
            self._download({path: later[path] for path in paths if path in later and not path.exists()})

    def size(self, path: Path) -> int | None:
        """The bytes of a file that `fetch` left for later; None where there is none."""
        entry = self._left_for_later.get(path)
        return None if entry is None else entry.size

    def _download(self, wanted: Mapping[Path, Entry]) -> None:
        total = sum(entry.size for entry in wanted.values())
        if total < BAR_FROM:
            self._get_all(wanted, lambda count: None)
            return
        rest, counting = 0, threading.Lock()
        with progress_bar(f"fetching {len(wanted):,} files", round(total / 1e6), "MB") as bar:

            def count(size: int) -> None:
                nonlocal rest
                with counting:
                    megabytes, rest = divmod(rest + size, 1_000_000)
                    if megabytes:
                        bar.advance(megabytes)

            self._get_all(wanted, count)

    def _get_all(self, wanted: Mapping[Path, Entry], count: Callable[[int], None]) -> None:
        for folder in {path.parent for path in wanted}:
            make_folder(folder)
        if len(wanted) < 2:
            for path, entry in wanted.items():
                self._get(path, entry, count)
            return
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetching") as pool:
            try:
                for _ in pool.map(lambda path: self._get(path, wanted[path], count), wanted):
                    pass
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _get(self, path: Path, entry: Entry, count: Callable[[int], None]) -> None:
        from fsspec.callbacks import Callback

        class Counting(Callback):
            def relative_update(self, inc: int = 1) -> None:
                count(inc)

        part = self.folder / FETCHING / secrets.token_hex(8)
        try:
            with told(f"cannot fetch {self._url(path)}", self.folder):
                try:
                    self._fs.get_file(entry.key, str(part), callback=Counting())
                except FileNotFoundError as error:
                    raise GenrobustError(
                        f"{self._url(path)} was removed while it was fetched: run the same command again"
                    ) from error
            if part.stat().st_size != entry.size:
                found = part.stat().st_size
                raise GenrobustError(
                    f"{self._url(path)} came with {found} bytes instead of {entry.size}: run the same command again"
                )
            _set_time(part, entry)
            try:
                part.replace(path)
            except OSError as error:
                raise refusal(path.parent, error) from error
        finally:
            part.unlink(missing_ok=True)

    def _list(self, folder: Path) -> dict[str, Entry]:
        """The files there in `folder` and below it, by their names from there; without hidden ones."""
        key = self._key(folder)
        with told(f"cannot list {self._url(folder)}"):
            self._fs.invalidate_cache()
            try:
                found: Iterable[Any] = self._fs.find(key, detail=True).values()
            except FileNotFoundError:
                found = ()
        entries = {e.key.removeprefix(key).lstrip("/"): e for e in map(entry_of, found)}
        return {n: e for n, e in entries.items() if n and not any(part.startswith(".") for part in n.split("/"))}

    # ------------------------------------------------------------------------------------------- holding

    @contextmanager
    def held(self, folder: Path, shared: bool, wait: bool, alone_here: bool) -> Iterator[None]:
        """Hold `folder` among machines; raises UserError where another holds it, unless told to `wait` for it."""
        relative = folder.relative_to(self.folder).as_posix()
        place = f"{self._root}/.leases/{relative.replace('/', '+')}"
        lease = Lease(self._fs, place, self._url(folder), self._copy if alone_here else "", shared)
        with told(f"cannot hold {self._url(folder)}"):
            if not self._whole:
                self._fs.makedirs(place, exist_ok=True)
            lease.take(wait)
        self._leases[folder] = lease
        try:
            yield
        finally:
            del self._leases[folder]
            lease.give_back()

    # ------------------------------------------------------------------------------------------- opening

    def _identity(self) -> str:
        """The name of this place, in it; it is given one now where it has none."""
        place = f"{self._root}/{MARK}"
        self._fs.invalidate_cache()
        for _ in range(2):
            try:
                return str(json.loads(self._fs.cat_file(place))["id"])
            except FileNotFoundError:
                self._mark(place, json.dumps({"id": secrets.token_hex(16)}).encode())
        return str(json.loads(self._fs.cat_file(place))["id"])

    def _mark(self, place: str, content: bytes) -> None:
        if not self._whole:
            self._fs.makedirs(self._root, exist_ok=True)
        try:
            self._fs.pipe_file(place, content, mode="create")
        except FileExistsError:
            return  # another machine was as fast
        except (OSError, NotImplementedError, TypeError, ValueError):  # not all can write where nothing is alone
            self._fs.pipe_file(place, content)

    def _copy_id(self) -> str:
        file = self.folder / COPY_ID
        with lock(self.folder, wait=True):
            if not file.exists():
                with replacing(file) as stream:
                    stream.write(secrets.token_hex(8).encode())
            own = file.read_text(encoding="utf-8")
        # A folder that machines share, such as a home on NFS, may not lock among them: they are told apart.
        return digest([own, socket.gethostname()])

    def _tidy(self) -> None:
        for part in (*(self.folder / FETCHING).iterdir(), *leftovers(self.folder, below=True)):
            try:
                if part.name != LOCK and time.time() - part.stat().st_mtime > A_DAY_S:
                    part.unlink()
            except OSError:
                continue  # it has just arrived

    # ------------------------------------------------------------------------------------------- names

    def _key(self, path: Path) -> str:
        relative = path.relative_to(self.folder).as_posix()
        return self._root if relative == "." else f"{self._root}/{relative}"

    def _url(self, path: Path) -> str:
        relative = path.relative_to(self.folder).as_posix()
        return self.url if relative == "." else f"{self.url}/{relative}"


def _copies() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(COPIES) or cache / "genrobust").expanduser()


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns) and not name.startswith(".") and "/." not in name


def _set_time(path: Path, entry: Entry) -> None:
    if entry.when is not None:
        os.utime(path, (entry.when, entry.when))
