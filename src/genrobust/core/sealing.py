"""Files that carry their own SHA-256: a changed bit in what is read again is an error, never another figure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from genrobust.core.json_text import parse_json
from genrobust.core.keys import HEX_DIGITS, digest, hash_once

SEAL = "sha256"  # the key of the checksum, of all other keys
BLANK_SEAL = "0" * HEX_DIGITS  # stands in a file for its SHA-256 while that is computed
MISMATCH = "its content does not match its SHA-256: it was damaged or edited"


def sealed(value: Mapping[str, Any]) -> bytes:
    """Return `value` as JSON text that ends with its checksum under the key ``sha256``.

    Raises:
        ValueError: A number that is not finite, or a `value` that has the key ``sha256``.
    """
    if SEAL in value:
        raise ValueError(f"the key {SEAL} is taken by the checksum")
    plain = json.loads(json.dumps(value, allow_nan=False))  # what a reader gets: tuples as lists, keys as text
    return (json.dumps({**plain, SEAL: digest(plain, 64)}, indent=1, ensure_ascii=False) + "\n").encode()


def unsealed(text: bytes) -> dict[str, Any]:
    """Return what `sealed` wrote.

    Raises:
        ValueError: The text is no such JSON, or differs from what was written.
    """
    found = parse_json(text)
    if not isinstance(found, dict) or SEAL not in found:
        raise ValueError(f"it has no {SEAL}, so that its content cannot be checked")
    if found.pop(SEAL) != digest(found, 64):
        raise ValueError(MISMATCH)
    return found


def has_seal(path: Path) -> bool:
    """Return whether `path` is JSON text that has a checksum, right or wrong, as `sealed` writes it."""
    return f'"{SEAL}"'.encode() in path.read_bytes()


def find_seal(content: bytes, before: bytes) -> int:
    """Return where `content` has a SHA-256, or `BLANK_SEAL`, behind the bytes `before`.

    Raises:
        ValueError: There is none.
    """
    found = re.search(re.escape(before) + b"([0-9a-f]{%d})" % HEX_DIGITS, content)
    if found is None:
        raise ValueError(f"it has no {SEAL}, so that its content cannot be checked")
    return found.start(1)


def write_seal(file: BinaryIO, at: int) -> None:
    """Write the SHA-256 of `file`, a file on the disk that is open for writing, over its zeros `BLANK_SEAL` at `at`."""
    file.flush()
    found = hash_once(Path(file.name), at)
    file.seek(at)
    file.write(found.encode())


def check_seal(path: Path, at: int) -> None:
    """Compare a file with the SHA-256 that lies in it at `at`; a process reads it once.

    Raises:
        OSError: The file cannot be read.
        ValueError: It differs from what was written.
    """
    with path.open("rb") as file:
        file.seek(at)
        seal = file.read(HEX_DIGITS)
    if seal != hash_once(path, at).encode():
        raise ValueError(MISMATCH)


def check_hash(path: Path, sha256: str) -> None:
    """Compare a file with the `sha256` that was written elsewhere; a process reads it once.

    Raises:
        OSError: The file cannot be read.
        ValueError: It differs from what was written.
    """
    if hash_once(path) != sha256:
        raise ValueError(MISMATCH)
