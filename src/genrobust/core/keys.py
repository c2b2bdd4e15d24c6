"""Digests, seeds and file names that are the same on every machine, and hashes of files."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core.files import MANIFEST, UNFINISHED

HEX_DIGITS = 64  # of a SHA-256
# File times are coarse. For this time after a change, a second change may not be visible in them.
FRESH_NS = 1_000_000_000
LONGEST = 200  # characters: file systems allow 255, and a number and an extension follow
# Names that Windows reserves for devices.
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}


def digest(value: Any, length: int = 12) -> str:
    """Return the first `length` hex digits of the SHA-256 of `value` as canonical JSON.

    Equal values have equal digests. The order of a dictionary does not matter.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_as_json)
    # A file name may be no valid UTF-8.
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:length]


def _as_json(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no canonical JSON")


def hashed_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends only on `parts`: the same in every process and on every machine."""
    return int(digest(parts, 16), 16) >> 1


def slug(text: str) -> str:
    """Return `text` as up to 200 ASCII letters, digits, ``-`` and ``_``, for ids of classes.

    A text that is longer, or not ASCII, gets a short hash. Texts that differ only in case or punctuation share a slug.
    `file_name` is unique.
    """
    plain = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")
    if len(plain) <= LONGEST:
        if plain == text:
            return plain
        if text.isascii() and re.sub(r"[^a-z0-9]+", "", plain):
            return plain
    return f"{plain[: LONGEST - 7] or 'class'}-{digest(text, 6)}"


def file_name(text: str) -> str:
    """Return a name for a file or folder called `text`. It is unique on every file system.

    A text that `slug` does not change is its own name. Other names have a dot and a hash.
    """
    plain = slug(text)
    if plain in DEVICES:
        plain = f"{plain}-"
    return plain if plain == text else f"{plain}.{digest(text, 8)}"


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
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


def key_hash(key: str) -> bytes:
    """Return the SHA-256 of the key of an image. Sorting by it gives a fair order."""
    return hashlib.sha256(key.encode()).digest()


def hash_folder(folder: Path, patterns: Sequence[str] = ("**/*.safetensors", "**/*.json", "**/*.txt")) -> str:
    """Return the SHA-256, in hex, of the weights, configurations and tokenizer in the folder of a model.

    A process reads a file once unless it changes. The manifest of an artifact does not count.

    Args:
        patterns: Which files count, as patterns of their paths.
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
