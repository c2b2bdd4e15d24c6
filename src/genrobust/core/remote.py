"""Remote file systems, which fsspec opens by URL: what their errors mean, and leases on their folders."""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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
LAPSE_S = 60.0  # a lease that is not renewed for so long has lapsed: its owner is dead, asleep or cut off
RENEW_S = 10.0
SETTLE_S = 2.0  # longer than a small write takes to arrive
_CONFLICTS = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409"}
log = logging.getLogger(__name__)


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
    if isinstance(error, NotImplementedError) or getattr(error, "errno", None) == errno.ENOSYS:
        return UserError(
            f"{reason}: an S3 server must offer conditional writes (If-None-Match and If-Match): update it, or choose "
            "another --out"
        )
    return GenrobustError(f"{reason}: completed files are intact; fix this and rerun")


@dataclass(frozen=True, slots=True)
class _Written:
    """The content of a lease, and the version of its file."""

    content: Mapping[str, Any]
    etag: str | None


class Lease:
    """A lease on the folder that users know as `url`: the file `key`, which one process at a time owns and renews.

    Who owns it is decided by the store alone. On S3 each write has a condition: that there is no file (If-None-Match),
    or still the version that was read (If-Match). Of several processes that find a free or lapsed lease one gets it,
    and a process that slept while its lease lapsed cannot write over the next owner's.

    Other file systems may ignore conditions. There a process that reads that the lease is free or lapsed writes it,
    and owns it if it is still there after `SETTLE_S`: of several that write at the same time the last one stays
    (Fischer's algorithm). Two processes own it only if a write takes longer than that to arrive.

    No clocks are compared: a lease has lapsed when a process has seen it unchanged for `LAPSE_S`, or at once if a
    process of its own `copy` of the files left it, since the caller holds the local lock of that.
    """

    def __init__(self, fs: Any, key: str, url: str, copy: str) -> None:
        self._fs, self._key, self._url = fs, key, url
        owner = f"{socket.gethostname()}, process {os.getpid()}"
        self._content: dict[str, Any] = {"owner": owner, "copy": copy, "token": secrets.token_hex(8), "renewals": 0}
        self._is_s3 = is_one_of(fs, S3)
        self._renewed, self._renewing = 0.0, threading.Lock()
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._keep, name="lease", daemon=True)

    def take(self, wait: bool) -> None:
        """Get the lease as soon as it is free or has lapsed.

        Raises:
            UserError: It was renewed meanwhile, so its owner is alive; unless `wait` is set.
        """
        seen, since = None, 0.0
        while True:
            found, now = self._read(), time.monotonic()
            if found != seen:
                if found and seen and not wait:
                    raise UserError(
                        f"another process is writing to {self._url} ({found.content.get('owner')}): wait for it, stop "
                        "it, or choose another --out"
                    )
                seen, since = found, now
            is_own = found is not None and (self._owns(found) or found.content.get("copy") == self._content["copy"])
            if found is None or is_own or now - since > LAPSE_S:
                if self._write(found):
                    break
                continue
            if now == since:
                log.warning("waiting for %s, which holds %s and may be dead", found.content.get("owner"), self._url)
            time.sleep(random.uniform(0.3, 1.0))
        self._renewer.start()

    def check(self) -> None:
        """Raise GenrobustError if the lease has lapsed and another process has it now."""
        if time.time() - self._renewed > LAPSE_S and not self._renew():
            raise GenrobustError(
                f"this process has not reached {self._url} for more than {LAPSE_S:.0f} s, and another may write there "
                "now: completed files are intact; rerun"
            )

    def give_back(self) -> None:
        """End the lease. Where the store does not answer, it lapses."""
        self._ended.set()
        self._renewer.join()
        try:
            if (found := self._read()) and self._owns(found):
                self._fs.rm_file(self._key)
        except Exception as error:  # of whatever kind the file system raises
            log.warning("cannot end the lease on %s, which lapses in %.0f s: %s", self._url, LAPSE_S, error)

    def _read(self) -> _Written | None:
        self._fs.invalidate_cache()
        try:
            # The version first: where another is written in between, a write over what was read is refused.
            etag = self._fs.info(self._key).get("ETag")
            return _Written(json.loads(self._fs.cat_file(self._key)), etag)
        except FileNotFoundError:
            return None
        except ValueError:  # it is being written
            return _Written({}, None)

    def _owns(self, found: _Written) -> bool:
        return bool(found.content.get("token") == self._content["token"])

    def _write(self, over: _Written | None) -> bool:
        """Write the lease over the one that was read, or where there was none; returns whether it is owned now."""
        if not self._is_s3 and self._read() != over:
            return False
        began = time.time()
        self._content["renewals"] += 1
        content = json.dumps(self._content).encode()
        if over is None:
            written = create_file(self._fs, self._key, content)
        else:
            condition = {"IfMatch": over.etag} if self._is_s3 else {}
            written = _was_met(lambda: self._fs.pipe_file(self._key, content, **condition))
        if not written:
            return False
        if not (self._is_s3 or (over and self._owns(over))):
            time.sleep(SETTLE_S)
            if not ((found := self._read()) and self._owns(found)):
                return False
        self._renewed = began
        return True

    def _renew(self) -> bool:
        with self._renewing:
            found = self._read()
            return found is not None and self._owns(found) and self._write(found)

    def _keep(self) -> None:
        while not self._ended.wait(RENEW_S):
            try:
                self._renew()
            except Exception as error:  # of whatever kind; `check` reports it when it matters
                log.debug("cannot renew the lease on %s: %s", self._url, error)


def create_file(fs: Any, key: str, content: bytes) -> bool:
    """Write a file where there is none; returns whether it was written."""
    return _was_met(lambda: fs.pipe_file(key, content, mode="create"))


def _was_met(write: Callable[[], object]) -> bool:
    """Return whether the condition of a write was met."""
    try:
        write()
    except Exception as error:
        response = getattr(error.__cause__, "response", None) or {}  # botocore's, of which s3fs translates some
        if not isinstance(error, FileExistsError) and response.get("Error", {}).get("Code") not in _CONFLICTS:
            raise
        return False
    return True
