"""Versions of what makes an artifact: libraries, and the modules of genrobust that decide its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "timm", "diffusers", "transformers")
CODE = "code"  # the name of the hash of modules


def made_by(*rooms: str) -> dict[str, str]:
    """Return the versions of genrobust and of the libraries that decide bytes, and a hash of the modules in `rooms`.

    `rooms` are packages of genrobust, such as "train". An installed release has the same hash everywhere; it changes
    with an edited copy, whose version does not.
    """
    versions = {name: metadata.version(name) for name in ("genrobust", *LIBRARIES)}
    return {**versions, CODE: _hash_modules(rooms)}


def made_by_others(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return what differs between two results of `made_by`, as (before, now) by name; "" where one lacks it."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return {name: (before.get(name, ""), now.get(name, "")) for name in names}


@cache
def _hash_modules(rooms: tuple[str, ...]) -> str:
    package, hashed = Path(__file__).parents[1], hashlib.sha256()
    for room in sorted(rooms):
        for path in sorted((package / room).rglob("*.py")):
            text = path.read_text(encoding="utf-8")  # with any line ends
            hashed.update(f"{path.relative_to(package).as_posix()} {len(text)}\n{text}".encode())
    return hashed.hexdigest()[:12]
