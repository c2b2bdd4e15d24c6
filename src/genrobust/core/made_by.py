"""What makes an artifact: versions of libraries and plug-ins, and the modules of genrobust that take part."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from genrobust.core.artifact import Manifest
from genrobust.core.registry import Registry

LIBRARIES = ("torch", "torchvision", "timm", "diffusers", "transformers")
CODE = "code"  # the key of the hashes of modules
_HASH = 8  # hex digits of the hash of a module
_PACKAGE = "genrobust."
_ROOT = Path(__file__).parents[1]
_CORE = ("core.images", "core.keys", "core.devices", "core.precision")
_MODULES = {  # what may decide the bytes of each kind of artifact: of these, the modules that are loaded
    "dataset": (*_CORE, "data.shard_files", "data.tar_writer", "generate"),
    "generator": (*_CORE, "data", "generate"),
    "checkpoint": (*_CORE, "data", "classifiers", "train"),
    "predictions": (*_CORE, "data", "classifiers"),
    "embeddings": (*_CORE, "data", "classifiers"),
    "filter": (*_CORE, "data", "classifiers"),
    "search": (*_CORE, "data", "classifiers"),
    "packed": (*_CORE, "data", "train"),
}


class _Code(NamedTuple):
    """A module: the hash of its code without docstrings and comments, and the names that it imports."""

    hash: str
    imports: frozenset[str]


def made_by(kind: str, plugins: Iterable[str] = ()) -> dict[str, Any]:
    """Return what makes an artifact of `kind` in this process: versions by name, and hashes of modules under `CODE`.

    They are the modules of genrobust that are loaded and take part in making that kind, by their names in genrobust,
    each with a hash of its code without docstrings and comments. A reader, a mode or another plug-in of ours takes part
    once it was asked for by name.

    Args:
        plugins: The distributions of other packages that take part, each with its version and a hash of its modules.
    """
    return _versions(plugins) | {CODE: {name: _code_of(name).hash for name in _taking_part(kind)}}


def with_loaded_code(manifest: Manifest) -> Manifest:
    """Return `manifest` with the modules that were loaded since it was made; those that it has keep their hashes."""
    code = made_by(manifest.kind)[CODE] | recorded_code(manifest.made_by)
    return replace(manifest, made_by={**manifest.made_by, CODE: dict(sorted(code.items()))})


def recorded_code(recorded: Mapping[str, Any]) -> dict[str, str]:
    """Return the hash of each module in what `made_by` returned; of an earlier format, one of all modules."""
    code = recorded.get(CODE, {})
    return dict(code) if isinstance(code, Mapping) else {CODE: str(code)}


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


def made_by_others(then: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Compare what made an artifact, as `made_by` returns it, with what would make it now.

    Only the modules that are named there are hashed.

    Returns:
        What differs, (then, now) by name; "" for what is not installed.
    """
    code = recorded_code(then)
    before = {name: version for name, version in then.items() if name != CODE}
    now = _versions(name for name in before if name not in ("genrobust", *LIBRARIES))
    before |= {_PACKAGE + name: hash for name, hash in code.items()}
    now |= {_PACKAGE + name: _code_of(name).hash for name in code}
    return {name: (before.get(name, ""), now[name]) for name in now if before.get(name) != now[name]}


def _versions(plugins: Iterable[str]) -> dict[str, str]:
    versions = {name: _version(name) for name in ("genrobust", *LIBRARIES)}
    return versions | {name: _plugin_version(name) for name in plugins}


def _taking_part(kind: str) -> list[str]:
    """The modules of genrobust, by their names in it, that are loaded and take part in making a `kind`, sorted."""
    loaded = {name: module for name, module in list(sys.modules.items()) if name.startswith(_PACKAGE)}
    registries = [thing for module in loaded.values() for thing in vars(module).values() if isinstance(thing, Registry)]
    packages = tuple(f"{registry.package}." for registry in registries if registry.package)
    asked_for = {name for registry in registries for name in registry.asked_for}
    rooms = _MODULES.get(kind, ())
    candidates = {
        name.removeprefix(_PACKAGE)
        for name in loaded
        if any(f"{name}.".startswith(f"{_PACKAGE}{room}.") for room in rooms)
    }
    members = {name for name in candidates if (_PACKAGE + name).startswith(packages)}  # all are loaded with the first
    members -= {name.removeprefix(_PACKAGE) for name in asked_for}
    while imported := {name for name in members if any(name in _code_of(by).imports for by in candidates - members)}:
        members -= imported
    return sorted(candidates - members)


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
    """Hash the code of the modules at `places`, and below those that are folders, with their paths from there."""
    hashed = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            hashed.update(f"{path.relative_to(place.parent).as_posix()} {_read_code(path).hash}\n".encode())
    return hashed.hexdigest()[:12]


@cache
def _code_of(name: str) -> _Code:
    """Read the module that is called `name` in genrobust; its hash is "" where there is none."""
    place = _ROOT.joinpath(*name.split("."))
    paths = [path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()]
    return _read_code(paths[0]) if paths else _Code("", frozenset())


def _read_code(path: Path) -> _Code:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]
        elif isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    code = hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:_HASH]
    return _Code(code, frozenset(name.removeprefix(_PACKAGE) for name in imports))
