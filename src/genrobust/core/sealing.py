"""JSON that carries its own checksum: a changed bit in what is read again is an error, never another figure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from genrobust.core.json_text import parse_json
from genrobust.core.keys import digest

SEAL = "sha256"  # the key of the checksum, of all other keys


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
        raise ValueError(f"its content does not match its {SEAL}: it was damaged or edited")
    return found
