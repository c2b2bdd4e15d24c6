"""Hashes of files and of folders of models."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from genrobust.store.files import MANIFEST, UNFINISHED

HEX_DIGITS = 64  # of a SHA-256
# File times are coarse. For this time after a change, a second change may not be visible in them.
FRESH_NS = 1_000_000_000


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_once(path: Path) -> str:
    """Return the SHA-256 of a file, in hex. It is computed once unless the size or times of the file change."""
    status = path.stat()
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < FRESH_NS:
        return hash_file(path)
    return _hash_unchanged(path, (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))


@cache
def _hash_unchanged(path: Path, stamp: tuple[int, ...]) -> str:
    del stamp
    return hash_file(path)


def hash_folder(folder: Path, patterns: Sequence[str] = ("**/*.safetensors", "**/*.json", "**/*.txt")) -> str:
    """Return the SHA-256, in hex, of the weights, configurations and tokenizer in the folder of a model.

    A process reads a file once unless it changes. The manifest of an artifact does not count.
    """
    paths: set[Path] = set()
    for pattern in patterns:
        paths.update(folder.glob(pattern))
    files = [path for path in paths if path.is_file() and path.name not in (MANIFEST, UNFINISHED)]
    return hash_files(folder, files)


def hash_files(folder: Path, files: Iterable[Path]) -> str:
    """Return the SHA-256, in hex, of `files` in `folder` with their names. An unchanged file is read once."""
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(f"{path.relative_to(folder).as_posix()} {hash_once(path)}\n".encode())
    return total.hexdigest()
