"""Values of options and of the environment that no command can use, or that a shell leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result


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
