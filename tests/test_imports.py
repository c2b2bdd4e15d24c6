"""The rules of the house: rooms import from rooms below, by their packages, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import genrobust

ROOT = Path(genrobust.__file__).parent
TESTS = Path(__file__).parent
ROOMS = (  # from the ground up
    *("core", "store", "recipe", "robustness", "data", "leaks", "classifiers", "generate"),
    *("train", "report", "study", "cli", "tools"),
)
STAGES = {"generate", "train", "report"}  # they meet in the nouns of core, not in each other
TOP = {"", "__main__"}
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
HEAVY = {"torch", "diffusers", "transformers", "timm", "numpy", "scipy", "pyarrow", "PIL", "yaml"}


@cache
def imported(module: Path) -> tuple[str, ...]:
    """The absolute name of everything that a module imports, in functions and for type checkers too."""
    names = []
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


def own_imports(module: Path) -> Iterator[tuple[str, list[str]]]:
    """The room of each of our imports in a module, and the parts of its name after that."""
    for name in imported(module):
        first, *rest = name.split(".")
        if first == "genrobust" and rest not in ([], ["__version__"]):
            yield rest[0], rest[1:]


def room_of(module: Path) -> str:
    return module.parts[0].removesuffix(".py").replace("__init__", "")


def dotted(module: Path) -> str:
    return ".".join(module.with_suffix("").parts).removesuffix(".__init__")


def test_nothing_else_lies_at_the_top() -> None:
    assert {room_of(m) for m in MODULES} == {*ROOMS, *TOP}
    assert sorted(p.name for p in ROOT.iterdir() if p.is_file()) == [
        "__init__.py",
        "__init__.pyi",
        "__main__.py",
        "py.typed",
    ]


def test_imports_go_down_and_from_packages() -> None:
    imports = ((m, room_of(m), *found) for m in MODULES if room_of(m) not in TOP for found in own_imports(m))
    for module, mine, theirs, rest in imports:
        if theirs == mine:
            assert mine != "tools" or rest[0] == module.parts[1], f"{module} imports from {rest[0]}: tools are slices"
            continue
        assert ROOMS.index(theirs) < ROOMS.index(mine), f"{module} imports from {theirs}, which does not lie below"
        assert not {mine, theirs} <= STAGES, f"{module} imports from {theirs}: stages meet in the nouns of core"
        assert len(rest) == 1, f"{module} imports from inside {theirs}: from genrobust.{theirs} import ..."


def dependencies() -> list[tuple[list[str], list[str]]]:
    """Each module with one that it imports, both as the parts of their names."""
    names = {dotted(m) for m in MODULES}
    found = []
    for module in MODULES:
        for parts in ([room, *rest] for room, rest in own_imports(module)):
            found.append((dotted(module).split("."), parts if ".".join(parts) in names else parts[:-1]))
    return found


def test_no_folder_or_module_imports_one_that_imports_it_back() -> None:
    found = dependencies()
    for folder in sorted({m.parent for m in MODULES}):
        inside, depth = list(folder.parts), len(folder.parts)
        graph: dict[str, set[str]] = {}
        for importer, imported in found:
            if importer[:depth] == imported[:depth] == inside:
                mine, theirs = (".".join(parts[depth : depth + 1]) for parts in (importer, imported))
                graph.setdefault(mine, set()).update({theirs} - {mine})
        while leaves := {name for name, others in graph.items() if not others & graph.keys()}:
            graph = {name: others for name, others in graph.items() if name not in leaves}
        assert graph == {}, folder


@pytest.mark.parametrize(
    ("package", "rooms"),
    [("diffusers", {"generate"}), ("ray", {"study"}), ("typer", {"cli", "tools"})],
    ids=["diffusers", "ray", "typer"],
)
def test_a_package_stays_in_its_rooms(package: str, rooms: set[str]) -> None:
    users = [m for m in MODULES if any(name.split(".")[0] == package for name in imported(m))]
    assert {room_of(m) for m in users} == rooms


def test_robustness_knows_neither_torch_nor_disks() -> None:
    found = {name.split(".")[0] for m in MODULES if room_of(m) == "robustness" for name in imported(m)}
    assert "numpy" in found
    assert found & {"torch", "os", "io", "pathlib", "shutil", "json"} == set()


def stub(room: str) -> dict[str, str]:
    """The names that a room offers, with the modules that define them."""
    tree = ast.parse((ROOT / room / "__init__.pyi").read_text(encoding="utf-8"))
    return {a.name: str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}


def test_a_name_is_offered_by_one_room_and_used_by_another() -> None:
    rooms = [room for room in ROOMS if room not in ("cli", "tools")]
    offered = [name for room in rooms for name in stub(room)]
    assert sorted(offered) == sorted(set(offered))
    used = {(room, rest[0]) for m in MODULES for room, rest in own_imports(m) if room not in (room_of(m), "cli")}
    public = {
        (room, name)
        for node in ast.parse((ROOT / "__init__.pyi").read_text()).body
        if isinstance(node, ast.ImportFrom)
        for room in [str(node.module)]
        for name in [a.name for a in node.names]
    }
    assert {(room, name) for room in rooms for name in stub(room)} == used | {
        each for each in public if each[0] in rooms
    }


def definitions(module: Path) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """The functions and classes of a module, and the functions of its classes."""
    for node in ast.parse((ROOT / module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node
        if isinstance(node, ast.ClassDef):
            yield from (method for method in node.body if isinstance(method, ast.FunctionDef))


def words(module: Path) -> set[str]:
    """Every name that a module reads, imports or writes as a string, such as the key of a registry."""
    found = {name.rpartition(".")[2] for name in imported(module)}
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def test_nothing_public_is_without_a_user() -> None:
    read = set().union(*map(words, MODULES)) | {"forward"}  # of torch's modules
    read |= {word for page in ROOT.rglob("*.j2") for word in re.findall(r"\w+", page.read_text(encoding="utf-8"))}
    unused = {
        f"{module}: {node.name}"
        for module in MODULES
        for node in definitions(module)
        if not node.name.startswith("_") and not node.decorator_list and node.name not in read
    }
    assert unused == set()


# Calls that change the object they belong to.
CHANGING = {
    *("acquire", "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft"),
    *("put", "remove", "reset", "set", "setdefault", "sort", "update"),
}
STATE = {  # with the reason for each
    "core/interrupts.py: _received": "Python calls a signal handler with nothing of the program but the signal",
    "core/progress.py: _counted": "work does not know whether another process or a bar around it counts its items",
    "core/progress.py: _shown": "a terminal has room for one display, and bars open in the middle of any work",
    "store/remote.py: _opened": "an artifact is made from a path, which does not tell that it is the copy of a URL",
    "recipe/paths.py: _folder": "pydantic makes nested sections without the folder that their paths are relative to",
}


def names_of_modules(tree: ast.Module) -> set[str]:
    """The names that a module assigns at its top level or imports from genrobust."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("genrobust"):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def changed_names(function: ast.AST) -> Iterator[str]:
    """The names of objects that a function changes in place, or rebinds with `global`."""
    for node in ast.walk(function):
        owner: ast.AST | None = None
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            owner = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
            owner = node.func.value
        elif isinstance(node, ast.withitem):
            owner = node.context_expr
        if isinstance(owner, ast.Name):
            yield owner.id


def test_modules_keep_no_state_but_where_nothing_else_can() -> None:
    """No function changes an object at the top level of a module. Registries are filled when modules are imported."""
    found = set()
    for module in MODULES:
        tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
        top = names_of_modules(tree)
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                found |= {f"{module.as_posix()}: {name}" for name in changed_names(function) if name in top}
    assert found == STATE.keys()


def test_tests_lie_as_the_rooms_do() -> None:
    for path in TESTS.rglob("test_*.py"):
        folder = path.parent.relative_to(TESTS)
        assert folder.parts[:1] in [(room,) for room in ROOMS] + [("docs",), ("fuzz",), ("assets",), ()], path
        assert not folder.parts or folder.parts[0] in ("docs", "fuzz") or (ROOT / folder).is_dir(), path


@pytest.mark.parametrize(
    "code",
    [
        "import genrobust",
        "import genrobust.cli; sys.argv = ['genrobust', '--help']; genrobust.cli.main()",
        "import genrobust.cli; sys.argv = ['genrobust', 'run', '--help']; genrobust.cli.main()",
    ],
    ids=["import genrobust", "genrobust --help", "genrobust run --help"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    tell = "atexit.register(lambda: print(json.dumps(list(sys.modules)), file=sys.stderr))"
    script = f"import atexit, json, sys; {tell}; {code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stderr)}
    assert "genrobust" in loaded
    assert loaded & HEAVY == set()


EVERY_COMMAND = """
import typer
from typer.testing import CliRunner
import genrobust
from genrobust.cli import COMMANDS, app
from genrobust import *
assert all(getattr(genrobust, name).__name__ == name for name in genrobust.__all__)
names = typer.main.get_command(app).commands
for words in (["--help"], *([name, "--help"] for name in names), ["list"], ["show", "pictograms", "--quick"]):
    done = CliRunner().invoke(app, words)
    assert not done.exit_code, (words, done.output, done.stderr)
print(*COMMANDS.names())
"""


TOOLS = sorted(path.parent.name for path in ROOT.glob("tools/*/__init__.py"))
EACH = [pytest.param([tool], id=tool, marks=pytest.mark.thorough) for tool in TOOLS]


@pytest.mark.parametrize("gone", [pytest.param(TOOLS, id="all"), *EACH])
def test_without_tools_everything_else_works(gone: list[str], tmp_path: Path) -> None:
    def left_out(folder: str, names: list[str]) -> set[str]:
        return {"__pycache__", *(gone if Path(folder) == ROOT / "tools" else [])}

    shutil.copytree(ROOT, tmp_path / "genrobust", ignore=left_out, copy_function=os.symlink)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    words = [sys.executable, "-c", EVERY_COMMAND]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    others = [path.read_text() for path in ROOT.glob("tools/*/__init__.py") if path.parent.name not in gone]
    registered = re.findall(r'^@COMMANDS.register\("([\w-]+)"\)$', "\n".join(others), flags=re.M)
    assert done.stdout.split() == sorted(registered)
