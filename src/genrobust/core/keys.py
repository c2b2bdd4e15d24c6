"""Digests, seeds and file names that are the same on every machine; hashes that identify weights under any name."""

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
FRESH_NS = 1_000_000_000  # since a change: the times of files are too coarse to tell it from another right after it
LONGEST = 200  # characters: file systems take 255, and a number and an ending follow
# What Windows has in place of files of these names.
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}


def digest(value: Any, length: int = 12) -> str:
    """The first `length` hex digits of the SHA-256 of `value`'s canonical JSON, which name a job's folder.

    Equal values have equal digests; the order of a dictionary does not matter.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_as_json)
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:length]  # of a name that is no UTF-8


def _as_json(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no canonical JSON")


def hashed_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends only on `parts`: the same in every process, order of jobs and machine."""
    return int(digest(parts, 16), 16) >> 1


def slug(text: str) -> str:
    """`text` as up to 200 ASCII letters, digits, ``-`` and ``_``, for the ids of classes; other texts get a short hash.

    Texts that differ in case or punctuation alone share one: for a file that is theirs alone, see `file_name`.
    """
    plain = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")
    if len(plain) <= LONGEST:
        if plain == text:
            return plain
        if text.isascii() and re.sub(r"[^a-z0-9]+", "", plain):
            return plain
    return f"{plain[: LONGEST - 7] or 'class'}-{digest(text, 6)}"


def file_name(text: str) -> str:
    """A name for the file or folder of `text`, on every file system another one for every text.

    A text that is plain, as `slug` leaves it, is its own name; others get a dot and a hash, which no plain one has.
    """
    plain = slug(text)
    if plain in DEVICES:
        plain = f"{plain}-"
    return plain if plain == text else f"{plain}.{digest(text, 8)}"


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_once(path: Path) -> str:
    """SHA-256 of a file, in hex, which a process computes once as long as the size and times of the file stay."""
    status = path.stat()
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < FRESH_NS:
        return hash_file(path)
    return _hash_unchanged(path, (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))


@cache
def _hash_unchanged(path: Path, stamp: tuple[int, ...]) -> str:
    del stamp
    return hash_file(path)


def key_hash(key: str) -> bytes:
    """SHA-256 of the key of an image: an order by it is fair, whatever the keys say."""
    return hashlib.sha256(key.encode()).digest()


def hash_folder(folder: Path, patterns: Sequence[str] = ("**/*.safetensors", "**/*.json", "**/*.txt")) -> str:
    """SHA-256, in hex, of the weights, configurations and tokenizer in a model's folder.

    A process reads files that do not change only once. `patterns` are those of the paths of what counts; the manifest
    of an artifact never does.
    """
    paths = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return hash_files(folder, {path for path in paths if path.name not in (MANIFEST, UNFINISHED)})


def hash_files(folder: Path, files: Iterable[Path]) -> str:
    """SHA-256, in hex, of `files` in `folder`, with their names; a process reads one that does not change once."""
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(f"{path.relative_to(folder).as_posix()} {hash_once(path)}\n".encode())
    return total.hexdigest()
