"""Remote file systems, which fsspec opens by URL, and what their errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genrobust.core.errors import DiskFull, GenrobustError, MissingPackage, UserError
from genrobust.core.files import refusal

# Object stores show a file when all of it is written, so that no temporary name is needed.
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"}
S3 = {"s3", "s3a"}
_READ_ONLY = {  # or wrappers of other file systems, to fsspec
    *("http", "https", "data", "github", "gist", "git", "zip", "tar", "libarchive", "reference", "generic", "dir"),
    *("cached", "blockcache", "filecache", "simplecache", "async_wrapper", "jlab", "jupyter"),
}


def checked_url(text: str) -> tuple[str, str]:
    """Return the scheme of a URL for output, and what comes after ``://``: of ``file``, an absolute path.

    Raises:
        UserError: It is no such URL, leads out of its folder, or is of a scheme that nothing can be written to.
    """
    scheme, separator, rest = text.partition("://")
    example = "give a folder, or a URL such as s3://bucket/runs"
    if not separator or not re.fullmatch("[a-z][a-z0-9+._-]+", scheme) or not rest.strip("/"):
        raise UserError(f"--out {text}: this is no URL: {example}")
    if "::" in text or scheme in _READ_ONLY:
        raise UserError(f"--out {text}: genrobust cannot write there: {example}")
    if not rest.isprintable() or ".." in rest.split("/"):
        raise UserError(f"--out {text!a}: the URL holds .. or characters that no folder has: {example}")
    if scheme == "file" and not rest.startswith("/"):
        raise UserError(f"--out {text}: a file URL has three slashes, file:///data/runs: {example}")
    return scheme, rest


def file_system(url: str) -> tuple[Any, str]:
    """Open the file system of `url`; returned with the name that the URL's folder has in it.

    Raises:
        MissingPackage: The package for S3 is not installed.
        UserError: No file system for such URLs is known or installed.
        GenrobustError: It does not answer.
    """
    import fsspec

    try:
        fs, root = fsspec.url_to_fs(url)
    except ImportError as error:
        if url.partition("://")[0] in S3:
            raise MissingPackage("s3fs", "s3", f"--out {url}") from None
        raise UserError(f"--out {url}: {error}") from None
    except ValueError as error:
        raise UserError(f"--out {url}: {error}: give a folder, or a URL such as s3://bucket/runs") from None
    except Exception as error:  # file systems may raise any
        raise _explained(f"cannot use {url}", error) from error
    return fs, str(root).rstrip("/")


def is_one_of(fs: Any, protocols: set[str]) -> bool:
    """Return whether one of `protocols` is the file system's."""
    return not protocols.isdisjoint({fs.protocol} if isinstance(fs.protocol, str) else fs.protocol)


@contextmanager
def translate_errors(what: str, folder: Path | None = None) -> Iterator[None]:
    """Raise what a file system raises in the block, which may be any exception, as a GenrobustError about `what`.

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
        raise (full if isinstance(full, DiskFull) else _explained(what, error)) from error


def _explained(what: str, error: Exception) -> GenrobustError:
    kind = type(error).__name__
    reason = f"{what}: {' '.join(str(error).split())[:300] or kind}"
    if isinstance(error, PermissionError) or "Credential" in kind or "Token" in kind:
        return UserError(
            f"{reason}: look at your credentials (of S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or "
            "an instance's role), which must let you list, read, write and delete there"
        )
    if isinstance(error, FileNotFoundError) or kind == "ParamValidationError":
        return UserError(f"{reason}: make the bucket first, or choose another --out")
    return GenrobustError(f"{reason}: completed files are intact; fix this and rerun")
