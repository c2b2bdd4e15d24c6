"""Digests, seeds and file names that are the same on every machine."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

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


def key_hash(key: str) -> bytes:
    """Return the SHA-256 of the key of an image. Sorting by it gives a fair order."""
    return hashlib.sha256(key.encode()).digest()
