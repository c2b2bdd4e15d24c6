"""The file systems that fsspec knows: opened by URL, their files, and what goes wrong in them told to the user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from genrobust.core.errors import DiskFull, GenrobustError, MissingPackage, UserError
from genrobust.core.files import refusal

# Whose writes appear whole or not at all, so that no temporary name is needed.
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"}
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs"}
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")  # as file systems call it


@dataclass(frozen=True, slots=True)
class Entry:
    """A file there: its whole name, its bytes, and when it was written, in seconds (None where that is not told)."""

    key: str
    size: int
    when: int | None

    def is_at(self, path: Path) -> bool:
        """Whether `path` is this file, by its size and time."""
        try:
            found = path.stat()
        except OSError:
            return False
        return found.st_size == self.size and (self.when is None or int(found.st_mtime) == self.when)


def time_of(info: Mapping[str, Any]) -> int | None:
    """When a file was written, in whole seconds by its file system's clock, as S3 tells it; None where none tells."""
    for name in _TIMES:
        when = info.get(name)
        if isinstance(when, str):
            when = datetime.fromisoformat(when)
        if when is not None:
            return int(when.timestamp() if isinstance(when, datetime) else when)
    return None


def entry_of(info: Mapping[str, Any]) -> Entry:
    """A file of a list, or of what is asked about one."""
    return Entry(str(info["name"]), int(info["size"]), time_of(info))


def file_system(url: str) -> tuple[Any, str]:
    """The file system of `url`, and the name of the URL's folder in it.

    Raises MissingPackage or UserError where there is none for such URLs.
    """
    import fsspec

    protocol = url.partition("://")[0]
    try:
        fs, root = fsspec.url_to_fs(url)
    except ImportError as error:
        if protocol in _PACKAGES:
            raise MissingPackage(_PACKAGES[protocol], "s3", f"--out {url}") from None
        raise UserError(f"--out {url}: {error}") from None
    except ValueError as error:
        raise UserError(f"--out {url}: {error}: give a folder, or an URL such as s3://bucket/runs") from None
    return fs, str(root).rstrip("/")


def appears_whole(fs: Any) -> bool:
    """Whether what is written to the file system appears whole or not at all."""
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else {*fs.protocol}
    return not protocols.isdisjoint(OBJECT_STORES)


@contextmanager
def told(what: str, folder: Path | None = None) -> Iterator[None]:
    """Turn what goes wrong in a file system, which may be any exception, into what to tell the user of `what`.

    `folder` is where the block writes here, which may be full.
    """
    try:
        yield
    except GenrobustError:
        raise
    except Exception as error:
        full = refusal(folder, error) if folder is not None and isinstance(error, OSError) else None
        raise (full if isinstance(full, DiskFull) else _problem(what, error)) from error


def _problem(what: str, error: Exception) -> GenrobustError:
    """What to tell the user of `error`, which a file system raised."""
    kind = type(error).__name__
    reason = " ".join(str(error).split())[:300] or kind
    if isinstance(error, PermissionError) or "Credential" in kind or "Token" in kind:
        return UserError(
            f"{what}: {reason}: look at your credentials (of S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "AWS_PROFILE, or an instance's role), which must let you list, read, write and delete there"
        )
    if isinstance(error, FileNotFoundError) or kind == "ParamValidationError":
        return UserError(f"{what}: {reason}: make the bucket first, or choose another --out")
    return GenrobustError(f"{what}: {reason}: what is there is whole; mend that and run the same command again")
