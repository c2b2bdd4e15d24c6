"""Versions of what makes an artifact: libraries, plug-ins, and the modules of genrobust that decide its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from genrobust.core.artifact import Manifest

LIBRARIES = ("torch", "torchvision", "timm", "diffusers", "transformers")
CODE = "code"  # the name of the hash of modules
_CORE = ("core/images.py", "core/keys.py", "core/devices.py", "core/precision.py")
_MODULES = {  # what decides the bytes of each kind of artifact, beside the libraries
    "dataset": (*_CORE, "data/shard_files.py", "data/tar_writer.py", "generate"),
    "generator": (*_CORE, "data", "generate"),
    "checkpoint": (*_CORE, "data", "classifiers", "train"),
    "predictions": (*_CORE, "data", "classifiers"),
    "embeddings": (*_CORE, "data", "classifiers"),
    "filter": (*_CORE, "data", "classifiers"),
    "search": (*_CORE, "data", "classifiers"),
    "packed": (*_CORE, "data", "train"),
}


def made_by(kind: str, plugins: Iterable[str] = ()) -> dict[str, str]:
    """Return what makes an artifact of `kind` here: versions, and a hash of our modules.

    Only the modules that decide the bytes of that kind count. An installed release has the same hash everywhere; it
    changes with an edited copy, whose version does not.

    Args:
        plugins: The distributions of other packages that take part, each with its version and a hash of its modules.
    """
    versions = {name: _version(name) for name in ("genrobust", *LIBRARIES)}
    package = Path(__file__).parents[1]
    code = _hash_modules(*(package / module for module in sorted(_MODULES.get(kind, ()))))
    return {**versions, CODE: code, **{name: _plugin_version(name) for name in plugins}}


def plugins_of(*classes: type) -> dict[str, str]:
    """Return the distributions of other packages that registered `classes`, or their bases, with their versions.

    They are part of the inputs of what these make: their releases do not promise the same bytes.
    """
    tops = {base.__module__.partition(".")[0] for each in classes for base in each.__mro__}
    foreign = tops - {"genrobust", "pydantic", "builtins", "abc", "typing"}
    if not foreign:
        return {}
    distributions = _distributions()
    names = sorted({name for top in foreign for name in distributions.get(top, ())})
    return {name: _version(name) for name in names}


def made_by_others(manifest: Manifest) -> dict[str, tuple[str, str]]:
    """Return what made an artifact and would not make it now: (then, now) by name; "" for what is not installed."""
    then = manifest.made_by
    plugins = [name for name in then if name not in ("genrobust", *LIBRARIES, CODE)]
    now = made_by(manifest.kind, plugins)
    return {name: (then.get(name, ""), now[name]) for name in now if then.get(name) != now[name]}


@cache
def _version(name: str) -> str:
    return metadata.version(name)


def _plugin_version(name: str) -> str:
    """The version of a distribution, with a hash of the modules that it offers; "" where it is not installed."""
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return ""
    tops = {
        point.module.partition(".")[0] for point in distribution.entry_points if point.group.startswith("genrobust.")
    }
    origins = [Path(spec.origin) for top in sorted(tops) if (spec := find_spec(top)) and spec.origin]
    return f"{distribution.version} {_hash_modules(*(o.parent if o.name == '__init__.py' else o for o in origins))}"


@cache
def _distributions() -> Mapping[str, list[str]]:
    """The distributions of each top-level module: a second of reading the metadata of all that is installed."""
    return metadata.packages_distributions()


@cache
def _hash_modules(*places: Path) -> str:
    """Hash the modules at `places`, and below those that are folders, with their paths from there."""
    hashed = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            text = path.read_text(encoding="utf-8")  # with any line ends
            hashed.update(f"{path.relative_to(place.parent).as_posix()} {len(text)}\n{text}".encode())
    return hashed.hexdigest()[:12]
