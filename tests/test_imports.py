"""The import rules of the design: arrows point down, stages never meet, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import genrobust

ROOT = Path(genrobust.__file__).parent
GROUND = {
    *("", "data", "embedded", "errors", "config", "hashing", "recipe", "store"),
    *("architectures", "models", "checkpoints", "preparing", "clip", "files", "lease", "mirror", "remote"),
    *("devices", "precision", "scales", "progress", "sweep", "durations", "machine"),
    *("classifiers", "matching", "onnx_files", "templating"),
}
STAGES = {"sources", "prompts", "generate", "train", "evaluate", "audit", "robustness", "report", "execute", "export"}
ABOVE = (
    {"pages"},
    {"baselines", "class_models", "doctor", "finetuning", "gallery", "naming", "named_tests", "notes", "published"}
    | {"qualities", "rates", "verifying"},
    {"auditing", "cells", "er", "release", "timing", "tracking"},
    {"evaluating", "generating", "training"},
    {"study"},
    {"named_models", "origins", "work"},
    {"benchmarking", "cost", "elsewhere"},
    {"calibrating", "init"},
    {"cli"},
    {"__main__"},
    {"__init__"},  # names the public ones, from all floors; what others import from the package, its version, is below
)
HEIGHT = {name: height for height, layer in enumerate((GROUND, STAGES, *ABOVE)) for name in layer}
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
HEAVY = {"torch", "diffusers", "transformers", "timm", "numpy", "scipy", "pyarrow", "PIL", "yaml"}


def imported(module: Path) -> Iterator[str]:
    """The absolute name of everything that a module imports, in functions and for type checkers too."""
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(name: str) -> str:
    """The stage or module right below the package that the absolute name lies in; "" for the package itself."""
    part = name.split(".")[1] if "." in name else ""
    return part if part in HEIGHT or (ROOT / part).is_dir() or (ROOT / f"{part}.py").is_file() else ""


def own_part(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_arrows_point_down(module: Path) -> None:
    mine = own_part(module)
    assert mine in HEIGHT, f"{module}: say in this test on which floor it stands"
    for name in imported(module):
        if name.split(".")[0] != "genrobust":
            continue
        theirs = part_of(name)
        beside = mine == theirs or (mine in GROUND and theirs in GROUND)
        assert beside or HEIGHT[theirs] < HEIGHT[mine], f"{module} imports {name}, which does not lie below it"


@pytest.mark.parametrize(
    ("package", "where"), [("diffusers", "generate/*.py"), ("ray", "execute/ray*.py")], ids=["diffusers", "ray"]
)
def test_a_package_stays_in_its_place(package: str, where: str) -> None:
    users = [m for m in MODULES if any(name.split(".")[0] == package for name in imported(m))]
    assert [str(m) for m in users if not m.match(where)] == []


def test_robustness_knows_neither_torch_nor_disks() -> None:
    modules = [m for m in MODULES if own_part(m) == "robustness"]
    found = {name.split(".")[0] for m in modules for name in imported(m)}
    assert "numpy" in found
    assert found & {"torch", "os", "io", "pathlib", "shutil", "json"} == set()


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
