"""Commands use the newest finished run of a recipe if it made what they need and the recipe as it is did not."""

import shutil
from pathlib import Path

import pytest
from small_study import genrobust

from genrobust.study import finished_runs

REAL = "own.yaml:real"
SEED = ("--set", "seeds=[5]")


@pytest.mark.usefixtures("own_run")
def test_a_run_with_more_options_is_used_and_named():
    genrobust("predict", REAL, "solid", *SEED, code=2, said="--run")
    genrobust("run", "own.yaml", "--quick", *SEED, "--set", "robustness.bootstrap=100")
    short = ("run of", "with --quick, seeds=[5], robustness.bootstrap=100")
    for words in (("predict", REAL, "solid", *SEED), ("export", REAL, "--to", "timm", *SEED)):
        said = " ".join(genrobust(*words).stderr.split())
        assert all(part in said for part in short)
    assert "real" in Path("own-seeds-5-real-timm/README.md").read_text()
    shown = genrobust("show", "own.yaml", *SEED).stdout
    assert short[1] in shown and "report.html" in shown
    # The recipe itself is run, so it is used.
    assert "run of" not in genrobust("predict", REAL, "solid").stderr
    # --run trains what is missing, whatever other runs have made.
    assert "run of" not in genrobust("predict", REAL, "solid", *SEED, "--run").stderr
    assert "run of" not in genrobust("predict", REAL, "solid", *SEED).stderr


@pytest.mark.usefixtures("own_run")
def test_a_run_is_not_used_for_a_changed_recipe_or_other_options():
    genrobust("run", "own.yaml", "--set", "seeds=[5]")
    recipe = Path("own.yaml")
    for text, options in (("steps: 2", ()), ("seeds=[6]", ("--set", "seeds=[6]"))):
        recipe.write_text(recipe.read_text().replace(text, "steps: 4"))
        genrobust("predict", REAL, "solid", *options, code=2, said="--run")


@pytest.mark.usefixtures("own_run")
def test_runs_are_listed_newest_first_and_damaged_reports_are_not():
    genrobust("run", "own.yaml", *SEED)
    newest, first = finished_runs("runs")
    assert newest.overrides == ("seeds=[5]",) and not first.overrides
    (first.folder / "results.json").write_text("{}")
    assert finished_runs("runs") == [newest]
    shutil.rmtree("runs")
    assert finished_runs("runs") == []
