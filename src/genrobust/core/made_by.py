"""Versions of what makes an artifact: libraries, and the modules of genrobust that decide its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "timm", "diffusers", "transformers")
CODE = "code"  # the name of the hash of modules
_CORE = ("core/images.py", "core/keys.py", "core/devices.py", "core/precision.py")
_MODULES = {  # what decides the bytes of each kind of artifact, beside the libraries
    "dataset": (*_CORE, "generate"),
    "generator": (*_CORE, "data", "generate"),
    "checkpoint": (*_CORE, "data", "classifiers", "train"),
    "predictions": (*_CORE, "data", "classifiers"),
    "embeddings": (*_CORE, "data", "classifiers"),
    "filter": (*_CORE, "data", "classifiers"),
    "search": (*_CORE, "data", "classifiers"),
    "packed": (*_CORE, "data", "train"),
}


def made_by(kind: str) -> dict[str, str]:
    """Return what makes an artifact of `kind` here: versions of genrobust and the libraries, and a hash of our modules.

    Only the modules that decide the bytes of that kind count. An installed release has the same hash everywhere; it
    changes with an edited copy, whose version does not.
    """
    versions = {name: metadata.version(name) for name in ("genrobust", *LIBRARIES)}
    return {**versions, CODE: _hash_modules(_MODULES.get(kind, ()))}


def made_by_others(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return what differs between two results of `made_by`, as (before, now) by name; "" where one lacks it."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return {name: (before.get(name, ""), now.get(name, "")) for name in names}


@cache
def _hash_modules(modules: tuple[str, ...]) -> str:
    package, hashed = Path(__file__).parents[1], hashlib.sha256()
    for module in sorted(modules):
        place = package / module
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            text = path.read_text(encoding="utf-8")  # with any line ends
            hashed.update(f"{path.relative_to(package).as_posix()} {len(text)}\n{text}".encode())
    return hashed.hexdigest()[:12]
