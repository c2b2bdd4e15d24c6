"""Output at a URL: a local folder to work in, whose artifacts are copied to an object store through fsspec.

A store shows a file when it is complete. The URL decides: a manifest that is not there is removed here. Each machine
has its own folder, and machines share only the URL.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from genrobust.core import (
    DiskFull,
    GenrobustError,
    UserError,
    file_name,
    mask_secrets,
    one_line,
    progress_bar,
    user_cache,
)
from genrobust.store.files import lock, make_folder, refusal, replacing, temporary
from genrobust.store.named_files import expand_home

# The environment variable with the folder of the copies on this machine.
COPIES = "GENROBUST_COPIES"
STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory")
AT_ONCE = 8  # downloads at once; s3fs also reads a large file in ten parts
# How often to list a URL again if another machine removes files meanwhile.
LISTED = 3
_EXAMPLE = "give a folder, or a URL of an object store such as s3://bucket/runs"
_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or an instance's role"
# Schemes have two letters or more, because C:/ is a disk.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]+:/")
_opened: dict[str, Remote] = {}


def local_folder(out: Path | str) -> Path:
    """Return the folder to work in for an output: a path (``~/`` is the home folder) or a URL for fsspec.

    For a URL, it is below the folder in the environment variable `COPIES`, or else below the user's cache.
    """
    text = str(out)
    if not text.strip():
        raise UserError("the output folder has an empty name: name a folder, or . for the current one")
    if isinstance(out, Path) and _URL.match(text):
        raise UserError(f"{text} is a URL, and a folder is needed here: only commands of a study take URLs")
    if isinstance(out, Path) or not ("://" in text or _URL.match(text)):
        return Path(expand_home(text))
    url = text.rstrip("/")
    if url not in _opened:
        _opened[url] = Remote(text)
    return _opened[url].folder


def remote_of(path: Path) -> Remote | None:
    """Return the remote of the folder that `path` is in. None for local folders."""
    return next((remote for remote in _opened.values() if path.is_relative_to(remote.folder)), None)


def address(folder: Path) -> Path | str:
    """Return the URL of `folder`, or `folder` itself: another machine passes it to `local_folder`."""
    remote = remote_of(folder)
    return folder if remote is None else remote.url_of(folder)


class Remote:
    """The files at a URL, and a `folder` for copies of them. `url` may be shown: its password is masked."""

    def __init__(self, url: str, copies: Path | None = None) -> None:
        self._url = url.rstrip("/")
        self.url = mask_secrets(self._url)
        shown = mask_secrets(url)
        scheme, _, rest = url.partition("://")
        parts = set(rest.rstrip("/").split("/"))
        if scheme not in STORES or not url.isprintable() or parts & {"", ".", ".."}:
            known = ", ".join(STORES)
            raise UserError(f"{shown!a} is no URL of a store that genrobust knows ({known}): {_EXAMPLE}")
        # The library of S3 would show a part of the password.
        if scheme in ("s3", "s3a") and shown != url:
            raise UserError(f"{shown}: S3 takes no password from a URL: {_CREDENTIALS}")
        copies = copies or Path(os.environ.get(COPIES) or user_cache()).expanduser()
        self.folder = copies.absolute() / file_name(self.url)
        with _translate_errors(f"cannot use {shown}"):
            import fsspec

            self._fs, root = fsspec.url_to_fs(self._url)
            self._root = str(root).rstrip("/")
            bucket = self._root.partition("/")[0]
            # A store in memory has no buckets.
            if bucket:
                self._fs.info(bucket)
        make_folder(self.folder)

    def url_of(self, path: Path) -> str:
        """Return the URL of `path` with its password. Do not show it."""
        return self._url + self._key(path).removeprefix(self._root)

    def put(self, path: Path, content: bytes | None = None) -> None:
        """Upload the file `path`, or `content` instead."""
        with self._translating("write", path):
            if content is None:
                self._fs.put_file(str(path), self._key(path))
            else:
                self._fs.pipe_file(self._key(path), content)

    def remove(self, path: Path) -> None:
        """Remove the copy of `path` at the URL, if there is one."""
        with self._translating("remove", path), suppress(FileNotFoundError):
            self._fs.invalidate_cache()
            self._fs.rm_file(self._key(path))

    def update(self, folder: Path, names: re.Pattern[str]) -> list[Path]:
        """Make the small files in `folder` those at the URL. Files count if their paths below `folder` match `names`.

        Returns:
            The files that are new or have changed.
        """
        local = [path for path in folder.rglob("*.json") if names.fullmatch(path.relative_to(folder).as_posix())]
        contents = self._read(folder, names)
        changed = []
        for path, content in contents.items():
            if not path.is_file() or path.read_bytes() != content:
                make_folder(path.parent)
                with replacing(path) as file:
                    file.write(content)
                changed.append(path)
        # Files that appear here after the URL was listed stay.
        for path in local:
            if path not in contents:
                path.unlink(missing_ok=True)
        return changed

    def _read(self, folder: Path, names: re.Pattern[str]) -> dict[Path, bytes]:
        key = self._key(folder)
        with self._translating("list", folder):
            for _ in range(LISTED):
                self._fs.invalidate_cache()
                paths = {str(name): str(name).removeprefix(key).lstrip("/") for name in self._fs.find(key)}
                wanted = [name for name, path in paths.items() if names.fullmatch(path)]
                found = self._fs.cat(wanted, on_error="return") if wanted else {}
                failures = [content for content in found.values() if isinstance(content, Exception)]
                # A file is missing if another machine finished an artifact meanwhile: list again.
                if not any(isinstance(failure, FileNotFoundError) for failure in failures):
                    break
            if failures:
                raise failures[0]
        return {folder / paths[name]: content for name, content in found.items()}

    def get(self, paths: Sequence[Path]) -> None:
        """Download the `paths` that are missing here."""
        if all(path.exists() for path in paths):
            return
        # Several threads and processes may want the same files.
        with lock(self.folder, wait=True):
            missing = sorted({path for path in paths if not path.exists()})
            with progress_bar("fetching", len(missing), "files") as bar:
                for first in range(0, len(missing), AT_ONCE):
                    batch = missing[first : first + AT_ONCE]
                    self._download(batch)
                    bar.advance(len(batch))

    def _download(self, paths: Sequence[Path]) -> None:
        parts = {temporary(path): path for path in paths}
        try:
            with self._translating("fetch", paths[0]):
                for path in paths:
                    make_folder(path.parent)
                self._fs.get([self._key(path) for path in paths], [str(part) for part in parts])
                for part, path in parts.items():
                    part.replace(path)
        finally:
            for part in parts:
                part.unlink(missing_ok=True)

    def _key(self, path: Path) -> str:
        relative = path.relative_to(self.folder).as_posix()
        if relative == ".":
            return self._root
        return f"{self._root}/{relative}"

    def _translating(self, verb: str, path: Path) -> Any:
        return _translate_errors(f"cannot {verb} {mask_secrets(self.url_of(path))}", self.folder)


@contextmanager
def _translate_errors(failure: str, folder: Path | None = None) -> Iterator[None]:
    """Turn any exception of a store in the block into a GenrobustError about `failure`."""
    try:
        yield
    except GenrobustError:
        raise
    except Exception as error:
        kind = type(error).__name__
        reason = f"{failure}: {one_line(error)}"
        if folder is not None and isinstance(error, OSError):
            refused = refusal(folder, error)
            if isinstance(refused, DiskFull):
                raise refused from error
        if isinstance(error, ImportError):
            raise UserError(f"{reason}; for S3: pip install 'genrobust[s3]'") from None
        if isinstance(error, PermissionError) or "Credential" in kind or "Token" in kind:
            allowed = "which must let you list, read, write and delete there"
            raise UserError(f"{reason}: look at your credentials (of S3: {_CREDENTIALS}), {allowed}") from error
        if isinstance(error, FileNotFoundError) or kind == "ParamValidationError":
            raise UserError(f"{reason}: the bucket or the file is missing: make the bucket first, or rerun") from error
        raise GenrobustError(f"{reason}: completed files are intact; fix this and rerun") from error
