"""The commands that the program proposes: its own parser takes all of them, and those of a small study run.

Those of `init` are in tests/tools/init/test_init.py, those of pages and recipes in tests/docs/test_commands.py.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from small_study import genrobust, proposed

import genrobust as package
from genrobust.cli import app

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
RUNS = Path("runs")
GIVEN = ("--device", "cpu", "--set", "robustness.bootstrap=100")


def texts(path: Path) -> Iterator[str]:
    """The texts in the code of a file, with X for what is filled in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_commands_in_messages_have_the_options_that_they_name() -> None:
    named = 0
    for path in Path(str(package.__file__)).parent.rglob("*.py"):
        for name, rest in re.findall(r"\bgenrobust ([a-z][a-z-]*)([^.,:;\n]*)", "\n".join(texts(path))):
            if name in COMMANDS:
                known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
                assert set(re.findall(r" (--[a-z-]+)", rest)) <= known, f"{path.name}: genrobust {name}{rest}"
                named += 1
    assert named > 20


@pytest.mark.usefixtures("own_run")
def test_show_proposes_commands_that_run() -> None:
    def run_proposed() -> list[str]:
        shown = proposed(genrobust("show", "own.yaml", *GIVEN).stdout)
        for words in shown:
            genrobust(*("test" if word == "FOLDER" else word for word in words))
        return [name for name, *_ in shown]

    assert run_proposed() == ["run"]  # of these bootstraps there is none
    assert run_proposed() == ["predict"]
    shutil.rmtree(RUNS / "checkpoints")
    assert run_proposed() == ["run"]


@pytest.mark.usefixtures("own_run")
def test_what_is_missing_is_made_by_the_command_that_the_error_proposes() -> None:
    shutil.rmtree(RUNS / "checkpoints")
    for words in (
        ("predict", "own.yaml:real", "test", *GIVEN, "--out", "answers.csv"),
        ("evaluate", "own.yaml", "--models", "own.yaml:real again", *GIVEN),
    ):
        (again,) = proposed(genrobust(*words, code=2).stderr)
        assert again[0] == words[0] and again[-1] == "--run"
        genrobust(*again)
