"""Completion as a shell asks for it: recipes, arms, datasets and keys, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from genrobust.cli import completing
from genrobust.recipe import load_recipe, recipe_names


def test_recipes_and_what_they_name(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(recipe.parent)
    assert completing.recipes("") == [*recipe_names(), "small.yaml"]
    assert completing.arms_of_recipes("small") == ["small.yaml"]
    assert completing.arms_of_recipes("small.yaml:") == ["small.yaml:real", "small.yaml:[odd]"]
    assert completing.datasets_of_recipes("pictograms-full:generated-") == ["pictograms-full:generated-val"]
    assert completing.arms_of_recipes("none.yaml:") == completing.recipes("none") == []


def test_keys_are_those_of_a_recipe() -> None:
    keys = completing.keys("")
    assert {"seeds=", "train.learning_rate=", "generate.prompts.templates=", "data.retrieved.per_class="} <= {*keys}
    assert completing.keys("train.le") == ["train.learning_rate="]
    assert load_recipe("pictograms", [f"{completing.keys('train.lea')[0]}0.1"]).train.learning_rate == 0.1


BASH = [  # words as bash divides them, and the completions of the last
    (["predict", "pictograms-full", ":", "real+g"], {"real+generated", r"real+generated,\ drawing\ styles"}),
    (["export", "pictograms-full", ":"], {"generated", "generated-val"}),
    (["generate", "pictograms-full", "--dataset", "generated-"], {"generated-val"}),
    (["run", "pictograms", "--set", "train.le"], {"train.learning_rate="}),
]


@pytest.mark.parametrize(("words", "completions"), BASH)
def test_bash_completes(words: list[str], completions: set[str], tmp_path: Path) -> None:
    asked = {"COMP_WORDS": "\n".join(["genrobust", *words]), "COMP_CWORD": str(len(words))}
    script = (
        "import sys, genrobust.cli; sys.argv = ['genrobust']; genrobust.cli.main(); assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **asked, completing.VARIABLE: "complete_bash"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {*done.stdout.splitlines()} == completions
