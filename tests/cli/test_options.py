"""Numbers of options: each has bounds, and what is no number is refused before a command begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

NUMBERS = [  # command with the value left out, the option, values that are refused
    ("show small.yaml --prompts", "--prompts", ["0", "many"]),
    ("train small.yaml --workers", "--workers", ["0", "100000"]),
    ("predict resnet18 images --top", "--top", ["0"]),
    ("predict resnet18 images --batch-size", "--batch-size", ["0"]),
    ("audit images --batch-size", "--batch-size", ["0"]),
    ("effective-robustness --id clean --shift clean table.csv --min-id", "--min-id", ["101"]),
]


@pytest.mark.parametrize(
    ("line", "option", "value"), [(line, option, value) for line, option, values in NUMBERS for value in values]
)
def test_a_number_that_no_command_can_use_names_its_option(
    genrobust: Callable[..., Result], recipe: Path, line: str, option: str, value: str
) -> None:
    done = genrobust(*line.split(), value)
    assert done.exit_code == 2
    assert option in done.stderr and "unexpected" not in done.stderr
    assert len(done.stderr) < 2000
    assert sorted(path.name for path in recipe.parent.iterdir()) == ["small.yaml"]


@pytest.mark.parametrize("value", ["0", "10000", "nan"])
def test_the_number_of_workers_of_the_environment_is_named(
    genrobust: Callable[..., Result], recipe: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("GENROBUST_WORKERS", value)
    done = genrobust("show", recipe)
    assert done.exit_code == 2
    assert "GENROBUST_WORKERS" in done.stderr and len(done.stderr) < 300


def test_a_home_folder_that_the_shell_left_in_quotes(
    genrobust: Callable[..., Result], recipe: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    recipe.rename(home / "small.yaml")
    (home / "table.csv").write_text("model,a,b\n" + "".join(f"m{i},{50 + i},{20 + i + i % 2}\n" for i in range(9)))
    monkeypatch.setenv("HOME", str(home))
    given = ("source=folders", "train=~/train", "test=~/test", "generated=~/generated")
    sets = [text for key in given for text in ("--set", f"data.{key}")]
    shown = genrobust("show", "~/small.yaml", "--yaml", *sets)
    assert f"train: {home}/train" in shown.stdout and f"test: {home}/test" in shown.stdout
    genrobust("train", "~/small.yaml", "--arm", "real", "--out", "~/runs", "--set", "train.steps=2")
    genrobust("effective-robustness", "--id", "a", "--shift", "b", "~/table.csv", "--json", "~/new/er.json")
    assert {path.name for path in home.iterdir()} == {"small.yaml", "table.csv", "runs", "new"}
    assert not (recipe.parent / "~").exists()
