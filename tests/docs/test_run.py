"""The page about a run names functions that exist, in the order in which a run calls them, and nouns that exist."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from small_study import genrobust

import genrobust as package

SOURCE = Path(package.__file__).parent
PAGE = (Path(__file__).parents[2] / "docs" / "run.md").read_text(encoding="utf-8")
STEPS = [tuple(found) for found in re.findall(r"^\| \d+ \| `([\w/]+\.py): ([\w.]+)` \|", PAGE, flags=re.M)]
NOUNS = [tuple(found) for found in re.findall(r"^\| `(\w+)` \| `([\w/]+\.py)` \|", PAGE, flags=re.M)]


def test_the_nouns_are_where_the_page_says() -> None:
    assert len(NOUNS) == 10
    for name, file in NOUNS:
        tree = ast.parse((SOURCE / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}, (name, file)


def test_a_run_calls_the_functions_of_the_page_in_their_order(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(STEPS) == 22
    first_calls: dict[tuple[str, str], int] = {}

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(SOURCE)):
            file = Path(code.co_filename).relative_to(SOURCE).as_posix()
            first_calls.setdefault((file, code.co_qualname), len(first_calls))

    monkeypatch.chdir(recipe.parent)
    arms = "arms=[{name: real, mixture: [real, generated]}]"
    words = ["run", recipe, "--set", arms, "--set", "generate.per_class=2", "--set", "train.steps=2"]
    genrobust(*words, "--runs", "first")  # imports all libraries, which the profiler would slow down
    sys.setprofile(profile)
    try:
        genrobust(*words, "--runs", "second")
    finally:
        sys.setprofile(None)
    assert [step for step in STEPS if step not in first_calls] == []
    assert sorted(STEPS, key=first_calls.__getitem__) == STEPS
