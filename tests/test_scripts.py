"""The scripts that make what the package ships and the pages show, which no command of the package runs."""

import ast
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
