"""What makes an artifact: versions of libraries and plug-ins, and the modules of genrobust that take part."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "torchvision", "timm", "diffusers", "transformers", "numpy", "pillow")
CODE = "code"  # the key of the hashes of modules
_HASH = 8  # hex digits of the hash of a module
_PACKAGE = "genrobust."
_ROOT = Path(__file__).parents[1]
_CORE = ("core.images", "core.keys", "core.devices", "core.precision")
_READERS = "data.readers."  # which decide what is listed, and so the fingerprints that are among the inputs
_MODULES = {  # what may decide the bytes of each kind of artifact, whichever process makes it
    "dataset": (*_CORE, "classifiers.precision", "data.image_files", "data.shard_files", "generate"),
    "generator": (*_CORE, "classifiers.networks", "classifiers.precision", "data", "generate"),
    "checkpoint": (*_CORE, "data", "classifiers", "train"),
    "predictions": (*_CORE, "data", "classifiers"),
    "embeddings": (*_CORE, "data", "classifiers"),
    "filter": (*_CORE, "data", "classifiers"),
    "search": (*_CORE, "data", "classifiers"),
    "packed": (*_CORE, "data", "train.packed"),
}


def made_by(kind: str, plugins: Iterable[str] = ()) -> dict[str, Any]:
    """Return what makes an artifact of `kind`: versions by name, and hashes of modules under `CODE`.

    They are the modules of genrobust that may take part in making that kind, by their names in genrobust, each with a
    hash of its code without docstrings and comments. Readers are not among them, nor pages and commands. They do not
    depend on what the process has loaded: the bytes of a manifest are the same whichever worker writes it.

    Args:
        plugins: The distributions of other packages that take part, each with its version and a hash of its modules.
    """
    return _versions(plugins) | {CODE: {name: _code_of(name) for name in _taking_part(kind)}}


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
    code = then.get(CODE, {})
    before = {name: version for name, version in then.items() if name != CODE}
    now = _versions(name for name in before if name not in ("genrobust", *LIBRARIES))
    before |= {_PACKAGE + name: hash for name, hash in code.items()}
    now |= {_PACKAGE + name: _code_of(name) for name in code}
    return {name: (before.get(name, ""), now[name]) for name in now if before.get(name) != now[name]}


def _versions(plugins: Iterable[str]) -> dict[str, str]:
    versions = {name: _version(name) for name in ("genrobust", *LIBRARIES)}
    return versions | {name: _plugin_version(name) for name in plugins}


@cache
def _taking_part(kind: str) -> tuple[str, ...]:
    """The modules that may take part in making a `kind`, by their names in genrobust, sorted."""
    paths: set[Path] = set()
    for name in _MODULES.get(kind, ()):
        place = _ROOT.joinpath(*name.split("."))
        paths |= {*place.rglob("*.py")} if place.is_dir() else {place.with_suffix(".py")}
    names = (".".join(path.relative_to(_ROOT).with_suffix("").parts) for path in paths)
    return tuple(sorted(name for name in names if not name.startswith(_READERS)))


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
            hashed.update(f"{path.relative_to(place.parent).as_posix()} {_hash_code(path)}\n".encode())
    return hashed.hexdigest()[:12]


@cache
def _code_of(name: str) -> str:
    """Hash the code of the module that is called `name` in genrobust; "" where there is none."""
    path = _ROOT.joinpath(*name.split(".")).with_suffix(".py")
    return _hash_code(path) if path.is_file() else ""


def _hash_code(path: Path) -> str:
    """Hash the code of a module without its docstrings and comments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return hashlib.sha256(_as_text(tree).encode()).hexdigest()[:_HASH]


def _as_text(part: Any) -> str:
    """A part of a syntax tree, without its empty fields, which differ between versions of Python as `ast.dump` does."""
    if isinstance(part, ast.AST):
        fields = (f"{name}={_as_text(value)}" for name, value in ast.iter_fields(part) if value not in (None, []))
        return f"{type(part).__name__}({', '.join(fields)})"
    return f"[{', '.join(map(_as_text, part))}]" if isinstance(part, list) else ascii(part)
