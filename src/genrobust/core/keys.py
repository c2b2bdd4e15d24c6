"""What names things the same on every machine: digests, seeds and file names."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np


def digest(value: Any, length: int = 12) -> str:
    """Hex SHA-256 of `value`'s canonical JSON, cut to `length`: the name of a stage's folder.

    Two values with the same digest ask for the same work; dictionaries are compared without their order.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no canonical JSON")


def hashed_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on `parts` alone: the same in every process and order of work, on every machine."""
    return int(digest(parts, 16), 16) >> 1


def slug(text: str) -> str:
    """`text` as a key part: ASCII letters, digits, ``-`` and ``_`` alone. Text beyond those gets a short hash."""
    plain = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")
    if plain == text:
        return plain
    ascii_only = text.isascii() and re.sub(r"[^a-z0-9]+", "", text.lower()) != ""
    return plain if ascii_only else f"{plain or 'class'}-{digest(text, 6)}"
