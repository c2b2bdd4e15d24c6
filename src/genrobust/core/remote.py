"""Output at a URL: a local folder to work in, whose finished files go to an object store first, through fsspec.

A store shows a file when all of it is written, so that no temporary name is needed there. What is at the URL wins: a
local copy without its file there is removed. Each machine has a folder of its own and shares the URL alone.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from genrobust.core.errors import DiskFull, GenrobustError, MissingPackage, UserError, one_line
from genrobust.core.files import attach, lock, make_folder, refusal, remote_of
from genrobust.core.keys import file_name
from genrobust.core.machine import user_cache
from genrobust.core.masking import mask_secrets
from genrobust.core.named_files import expand_home
from genrobust.core.progress import progress_bar

COPIES = "GENROBUST_COPIES"  # the environment variable that says where copies lie
STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory")
AT_ONCE = 8  # downloads; s3fs reads a large file in ten parts by itself
LISTED = 3  # times, while other machines remove files that are to be fetched
BAR_FROM = 50_000_000  # bytes to fetch, for a bar to be shown
_EXAMPLE = "give a folder, or a URL of an object store such as s3://bucket/runs"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]+:/")  # of two letters or more: C:/ is a disk
# Files of artifacts that never change under their name: of one size, they are the same. Others are fetched anew.
_LASTING = (".tar", ".parquet", ".npz", ".safetensors", ".jpegs")
_opened: dict[str, RemoteFolder] = {}
_opening = threading.Lock()


def local_folder(out: Path | str) -> Path:
    """Return the folder to work in for an output, which is a path (``~/`` is the home folder) or a URL for fsspec.

    For a URL that is this machine's copy, below the folder that the environment variable `COPIES` names, or else below
    the user's cache.

    Raises:
        MissingPackage: The package of the store is not installed.
        UserError: No such bucket, no credentials, no URL of an object store, or a `Path` made of a URL.
        GenrobustError: The store does not answer.
    """
    text = str(out)
    if not text.strip():
        raise UserError("the output folder has an empty name: name a folder, or . for the current one")
    if isinstance(out, Path) and _URL.match(text):
        raise UserError(f"{text} is a URL, and a folder is needed here: only commands of a study take URLs")
    if isinstance(out, Path) or not ("://" in text or _URL.match(text)):
        return Path(expand_home(text))
    scheme, rest = _checked_url(text)
    if scheme == "file":
        return Path(rest)
    url = text.rstrip("/")
    with _opening:
        if url not in _opened:
            _opened[url] = RemoteFolder(url)
    return _opened[url].folder


def address(folder: Path) -> Path | str:
    """Return what `local_folder` takes on another machine for `folder`: its URL, or itself."""
    remote = remote_of(folder)
    return folder if remote is None else remote.address


def _checked_url(text: str) -> tuple[str, str]:
    """Return the scheme of a URL for output, and what comes after ``://``: of ``file``, an absolute path."""
    scheme, separator, rest = text.partition("://")
    if not separator or not re.fullmatch("[a-z][a-z0-9+._-]+", scheme) or not rest.strip("/"):
        raise UserError(f"{text}: this is no URL: {_EXAMPLE}")
    if "::" in text or scheme not in (*STORES, "file"):
        raise UserError(f"{text}: genrobust knows no such store: {_EXAMPLE} (stores: {', '.join(STORES)})")
    if not rest.isprintable() or {"", ".", ".."} & {*rest.strip("/").split("/")}:
        raise UserError(f"{text!a}: the URL holds .., // or characters that no folder has: {_EXAMPLE}")
    if scheme in ("s3", "s3a") and mask_secrets(text) != text:  # its library would quote a part of it
        raise UserError(
            f"{mask_secrets(text)}: S3 takes no password from a URL: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or AWS_PROFILE"
        )
    if scheme == "file" and not rest.startswith("/"):
        raise UserError(f"{text}: a file URL has three slashes, file:///data/runs: {_EXAMPLE}")
    return scheme, rest


class _RemovedMeanwhile(GenrobustError):
    """A file that was listed is no longer there."""


class RemoteFolder:
    """The files at `url` and their copy in `folder`, which lies below `copies` or this machine's default.

    Raises:
        MissingPackage: The package of the store is not installed.
        UserError: There is no such bucket, there are no credentials, or the URL cannot be read.
        GenrobustError: The store does not answer.
    """

    def __init__(self, url: str, copies: Path | None = None) -> None:
        self.url, self.address = mask_secrets(url), url  # the second is for other processes, and never shown
        self._fs, self._root = _file_system(url)
        copies = copies or Path(os.environ.get(COPIES) or user_cache()).expanduser()
        self.folder = copies.absolute() / file_name(self.url)
        self._later: dict[Path, int] = {}  # the bytes of files that are left for later
        if bucket := self._root.partition("/")[0]:  # memory has none
            with _translate_errors(f"cannot use {self.url}"):
                self._fs.info(bucket)
        make_folder(self.folder)
        attach(self.folder, self)

    def put(self, written: Path, path: Path) -> None:
        """Upload the finished file `written` as the remote of `path`.

        Raises:
            UserError: There is no such bucket, or there are no credentials.
            GenrobustError: The store does not answer.
        """
        with _translate_errors(f"cannot write {self._url(path)}"):
            self._fs.put_file(str(written), self._key(path))

    def remove(self, path: Path) -> None:
        """Remove the remote of `path`, if any; raises GenrobustError where the store refuses."""
        with _translate_errors(f"cannot remove {self._url(path)}"), suppress(FileNotFoundError):
            self._fs.invalidate_cache()
            self._fs.rm_file(self._key(path))

    def fetch(self, folder: Path, patterns: Sequence[str], later: Sequence[str]) -> None:
        """Download the files of `folder` that match `patterns`, and remove what has no remote; see `files.fetch`."""
        for _ in range(LISTED - 1):
            with suppress(_RemovedMeanwhile):  # another machine has finished what it worked on
                return self._fetch_listed(folder, patterns, later)
        self._fetch_listed(folder, patterns, later)

    def _fetch_listed(self, folder: Path, patterns: Sequence[str], later: Sequence[str]) -> None:
        local = [path for path in folder.rglob("*") if path.is_file()]  # before the list: a file here was there first
        remote = self._remote_sizes(folder)
        now = {name: size for name, size in remote.items() if _matches(name, patterns) and not _matches(name, later)}
        waiting = {name: size for name, size in remote.items() if _matches(name, later)}
        for path in local:
            name = path.relative_to(folder).as_posix()
            if name not in now and _matches(name, [*patterns, *later]) and not _is_same(path, waiting.get(name)):
                path.unlink(missing_ok=True)
        self._later |= {folder / name: size for name, size in waiting.items()}
        missing = {name: size for name, size in now.items() if not _is_same(folder / name, size)}
        last = {name for name in missing if _matches(name, patterns[-1:])}
        for names in (missing.keys() - last, last):
            self._download({folder / name: missing[name] for name in names})

    def fetch_files(self, paths: Sequence[Path]) -> None:
        """Download those of `paths` that are not here yet and that `fetch` left for later."""
        if all(path.exists() for path in paths):
            return
        with lock(self.folder, wait=True):  # many threads and processes may want the same: one fetches it
            self._download({p: self._later[p] for p in paths if p in self._later and not p.exists()})

    def size(self, path: Path) -> int | None:
        """Return the bytes of a file that `fetch` left for later; None where there is none."""
        return self._later.get(path)

    def _download(self, missing: Mapping[Path, int]) -> None:
        total, paths = sum(missing.values()), sorted(missing)
        shown = progress_bar(f"fetching {len(paths):,} files", total // 10**6, "MB")
        with shown if total >= BAR_FROM else nullcontext() as bar:
            for first in range(0, len(paths), AT_ONCE):
                batch = paths[first : first + AT_ONCE]
                self._download_together({path: missing[path] for path in batch})
                if bar is not None:
                    bar.advance(sum(missing[path] for path in batch) // 10**6)

    def _download_together(self, missing: Mapping[Path, int]) -> None:
        parts = {path.with_name(f".{path.name}.{secrets.token_hex(4)}.part"): path for path in missing}
        try:
            for path in missing:
                make_folder(path.parent)
            with _translate_errors(f"cannot fetch files of {self.url}", self.folder):
                try:
                    self._fs.get([self._key(path) for path in missing], [str(part) for part in parts])
                except FileNotFoundError as error:
                    raise _RemovedMeanwhile(f"a file of {self.url} was removed while it was fetched: rerun") from error
                for part, path in parts.items():
                    part.replace(path)
        finally:
            for part in parts:
                part.unlink(missing_ok=True)

    def _remote_sizes(self, folder: Path) -> dict[str, int]:
        """Return the bytes of the remote files in `folder` and below it, by their names from there."""
        key = self._key(folder)
        with _translate_errors(f"cannot list {self._url(folder)}"):
            self._fs.invalidate_cache()
            listing = self._fs.find(key, detail=True)
        sizes = {str(name).removeprefix(key).lstrip("/"): int(info["size"]) for name, info in listing.items()}
        return {name: size for name, size in sizes.items() if name}

    def _key(self, path: Path) -> str:
        relative = path.relative_to(self.folder).as_posix()
        return self._root if relative == "." else f"{self._root}/{relative}"

    def _url(self, path: Path) -> str:
        return self.url + self._key(path).removeprefix(self._root)


def _is_same(path: Path, size: int | None) -> bool:
    """Whether `path` is a copy of the remote file of its name, which has so many bytes."""
    return path.suffix in _LASTING and path.exists() and path.stat().st_size == size


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return name in patterns or (not re.search(r"(^|/)\.", name) and any(fnmatch(name, p) for p in patterns))


def _file_system(url: str) -> tuple[Any, str]:
    """Open the file system of `url`; returned with the name that the URL's folder has in it."""
    import fsspec

    try:
        fs, root = fsspec.url_to_fs(url)
    except ImportError as error:
        if url.startswith("s3"):
            raise MissingPackage("s3fs", "s3", mask_secrets(url)) from None
        raise UserError(f"{url}: {error}") from None
    except Exception as error:  # file systems may raise any
        raise _store_error(f"cannot use {url}", error) from error
    return fs, str(root).rstrip("/")


@contextmanager
def _translate_errors(failure: str, folder: Path | None = None) -> Iterator[None]:
    """Raise what a store raises in the block, which may be any exception, as a GenrobustError about `failure`.

    Raises:
        DiskFull: The disk of `folder`, where the block writes, is full.
        UserError: Missing rights or credentials, no such bucket, a store that cannot do what is needed.
        GenrobustError: Anything else, such as a store that does not answer.
    """
    try:
        yield
    except GenrobustError:
        raise
    except Exception as error:
        full = refusal(folder, error) if folder is not None and isinstance(error, OSError) else None
        raise (full if isinstance(full, DiskFull) else _store_error(failure, error)) from error


def _store_error(failure: str, error: Exception) -> GenrobustError:
    kind = type(error).__name__
    reason = f"{failure}: {one_line(error)}"
    if isinstance(error, PermissionError) or "Credential" in kind or "Token" in kind:
        return UserError(
            f"{reason}: look at your credentials (of S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or "
            "an instance's role), which must let you list, read, write and delete there"
        )
    if isinstance(error, FileNotFoundError) or kind == "ParamValidationError":
        return UserError(f"{reason}: make the bucket first, or choose another --out")
    return GenrobustError(f"{reason}: completed files are intact; fix this and rerun")
