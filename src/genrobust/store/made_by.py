"""The makers of an artifact: versions of libraries and plug-ins, and hashes of the modules of genrobust."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "torchvision", "timm", "diffusers", "transformers", "numpy", "pillow")
# The key of the hashes of modules, by the name of the module in genrobust.
CODE = "code"
# The key of one hash of the files of these modules. While it is the same, no module needs to be parsed.
SOURCE = "source"
# Bases of classes that are no part of a maker.
_FRAMEWORKS = {"abc", "builtins", "pydantic", "typing"}
_HASH_DIGITS = 8
_WITH_DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_GENROBUST = "genrobust"
_ROOT = Path(__file__).parents[1]

Maker = str | type | Callable[..., Any]  # the name of a module, or a class or function in it


def made_by(*makers: Maker) -> dict[str, Any]:
    """Describe what makes an artifact, for its manifest.

    The modules of genrobust are `makers` and everything that these import, also in functions, but not only for type
    checkers. A registry imports its members by name, so `makers` lists the members that take part. A package that is
    not genrobust counts with its version and a hash of its modules.

    The result does not depend on which modules this process has loaded: every worker writes the same manifest.

    Returns:
        Versions by name. Under `CODE`, hashes of modules without docstrings and comments. Under `SOURCE`, a hash of
        their files.
    """
    modules = {name for maker in makers for name in _modules_of(maker)}
    own = {name for name in modules if _top(name) == _GENROBUST}
    names = sorted(name.removeprefix(f"{_GENROBUST}.") for name in _import_closure(own))
    code = {name: _read(name).code_hash for name in names}
    plugins = _distributions_of(modules - own)
    return {**_versions(plugins), CODE: code, SOURCE: _hash_files(names)}


def plugins_of(*classes: type) -> dict[str, str]:
    """Return the distributions of other packages that registered `classes`, or their bases, with their versions.

    They are part of the inputs of an artifact: their releases do not promise the same bytes.
    """
    modules = {name for each in classes for name in _modules_of(each)}
    return {name: _version(name) for name in _distributions_of(modules)}


def made_by_others(then: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Compare the makers of an artifact, as `made_by` returned them, with the present ones.

    Only the modules that are named there are compared.

    Returns:
        The differences: (then, now) by name; "" if it is not installed.
    """
    code = then.get(CODE, {})
    before = {name: version for name, version in then.items() if name not in (CODE, SOURCE)}
    plugins = [name for name in before if name not in (_GENROBUST, *LIBRARIES)]
    now = _versions(plugins)
    if then.get(SOURCE) != _hash_files(sorted(code)):
        before |= {f"{_GENROBUST}.{name}": code_hash for name, code_hash in code.items()}
        now |= {f"{_GENROBUST}.{name}": _read(name).code_hash for name in code}
    return {name: (before.get(name, ""), now[name]) for name in now if before.get(name) != now[name]}


def _modules_of(maker: Maker) -> Iterator[str]:
    """Yield the names of the modules that define `maker` and its bases."""
    if isinstance(maker, partial):
        maker = maker.func
    if isinstance(maker, str):
        yield maker
    elif isinstance(maker, type):
        yield from (base.__module__ for base in maker.__mro__ if _top(base.__module__) not in _FRAMEWORKS)
    else:
        yield maker.__module__


def _top(module: str) -> str:
    return module.partition(".")[0]


# Versions


def _versions(plugins: Iterable[str]) -> dict[str, str]:
    versions = {name: _version(name) for name in (_GENROBUST, *LIBRARIES)}
    return versions | {name: _plugin_version(name) for name in plugins}


@cache
def _version(name: str) -> str:
    return metadata.version(name)


def _distributions_of(modules: Iterable[str]) -> list[str]:
    tops = {_top(name) for name in modules} - {_GENROBUST}
    # Without a plug-in, save the second that it takes to read the metadata of all distributions.
    return sorted({name for top in tops for name in _all_distributions().get(top, ())})


@cache
def _all_distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _plugin_version(name: str) -> str:
    """Return the version of a distribution and a hash of the modules that it offers; "" if it is not installed."""
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return ""
    points = [point for point in distribution.entry_points if point.group.startswith(f"{_GENROBUST}.")]
    places = []
    for top in sorted({_top(point.module) for point in points}):
        spec = find_spec(top)
        if spec is not None and spec.origin is not None:
            origin = Path(spec.origin)
            places.append(origin.parent if origin.name == "__init__.py" else origin)
    return f"{distribution.version} {_hash_places(*places)}"


@cache
def _hash_places(*places: Path) -> str:
    """Hash the code of the modules at `places`, with their paths. A folder stands for all modules in it."""
    hashed = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            code_hash = _hash_code(ast.parse(path.read_bytes()))
            hashed.update(f"{path.relative_to(place.parent).as_posix()} {code_hash}\n".encode())
    return hashed.hexdigest()[:12]


# The import closure


@dataclass(frozen=True, slots=True)
class _Module:
    """A parsed module: its `imports` by their full names, and the hash of its code."""

    imports: frozenset[str]
    code_hash: str


def _import_closure(modules: Iterable[str]) -> set[str]:
    """Return `modules` and all modules of genrobust that they import, by their full names."""
    waiting = [*modules]
    closure: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in closure:
            closure.add(name)
            waiting += _read(name.removeprefix(f"{_GENROBUST}.")).imports
    return closure


@cache
def _read(name: str) -> _Module:
    """Parse the module that is called `name` in genrobust. Its hash is "" if there is no such module."""
    path = _path_of(f"{_GENROBUST}.{name}")
    if path is None:
        return _Module(frozenset(), "")
    tree = ast.parse(path.read_bytes())
    return _Module(frozenset(_imports_of(tree)), _hash_code(tree))


def _imports_of(tree: ast.Module) -> Iterator[str]:
    """Yield the full names of the modules of genrobust that a module imports. A test forbids relative imports."""
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith(f"{_GENROBUST}."))
        elif isinstance(node, ast.ImportFrom) and node.module is not None and _top(node.module) == _GENROBUST:
            names = [_defining_module(node.module, alias.name) for alias in node.names]
            # The package itself holds nothing but its version, which is compared anyway.
            yield from (name for name in names if name != _GENROBUST)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield `node` and all below it, without the blocks for type checkers."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _defining_module(module: str, name: str) -> str:
    """Return the module that defines `name`, which is imported from `module`."""
    stub = _read_stub(module)
    while name in stub:
        module = stub[name]
        stub = _read_stub(module)
    if _path_of(f"{module}.{name}") is None:
        return module
    return f"{module}.{name}"


@cache
def _read_stub(package: str) -> Mapping[str, str]:
    """Return the modules that define the public names of a `package`, by name. Empty without a stub."""
    path = _ROOT.parent.joinpath(*package.split("."), "__init__.pyi")
    if not path.is_file():
        return {}
    imports = [node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"{package}.{node.module}" for node in imports for alias in node.names}


@cache
def _path_of(module: str) -> Path | None:
    """Return the file of a module of genrobust, given its full name. None if there is no such module."""
    place = _ROOT.parent.joinpath(*module.split("."))
    candidates = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


# Hashes


@cache
def _hash_file(name: str) -> str:
    path = _path_of(f"{_GENROBUST}.{name}")
    if path is None:
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash_files(names: Iterable[str]) -> str:
    """Hash the files of modules, by their names in genrobust."""
    lines = [f"{name} {_hash_file(name)}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def _hash_code(tree: ast.Module) -> str:
    """Hash the code of a module, without its docstrings and comments. Removes the docstrings from `tree`."""
    for node in ast.walk(tree):
        if isinstance(node, _WITH_DOCSTRINGS) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(_as_text(tree).encode()).hexdigest()[:_HASH_DIGITS]


def _as_text(part: Any) -> str:
    """Return part of a syntax tree as text. `ast.dump` writes empty fields, which differ between versions of Python."""
    if isinstance(part, ast.AST):
        fields = [f"{name}={_as_text(value)}" for name, value in ast.iter_fields(part) if value not in (None, [])]
        return f"{type(part).__name__}({', '.join(fields)})"
    if isinstance(part, list):
        return f"[{', '.join(map(_as_text, part))}]"
    return ascii(part)
