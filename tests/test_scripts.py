"""The scripts that make what the package ships and the pages show, which no command of the package runs."""

import ast
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path for folder in ("pictograms", "docs", "benchmarks") for path in (ROOT / folder).glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_a_script_imports_of_the_package_is_there(script):
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("genrobust"):
            module = import_module(node.module)
            missing = {alias.name for alias in node.names if not hasattr(module, alias.name)}
            assert {name for name in missing if find_spec(f"{node.module}.{name}") is None} == set(), node.module


@pytest.mark.thorough
def test_the_script_that_chooses_how_to_sample_prints_accuracies(tmp_path):
    quick = [f"--set={key}" for key in ("train.steps=2", "train.warmup_steps=1", "generate.per_class=1")]
    command = [sys.executable, ROOT / "pictograms" / "choose.py", "--out", tmp_path, *quick]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, *arms = done.stdout.splitlines()
    assert [line.partition(" wild-val ")[0].strip() for line in arms] == ["real", "generated", "real:generated 1:1"]
