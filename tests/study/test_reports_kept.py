"""The folder of a report belongs to one recipe and its scores: nothing that another run wrote there is lost."""

import json
import shlex
from pathlib import Path

import pytest
from small_study import genrobust

from genrobust.core import EARLIER, MANIFEST
from genrobust.recipe import load_recipe
from genrobust.study import Study

pytestmark = pytest.mark.usefixtures("own_run")
RUNS = Path("runs")


def run(*words):
    genrobust("run", *words, "--workers", 1)


def reports():
    """The bytes of all reports by their folders, where `earlier` ones are numbered."""
    names = ("report.html", "report.md", "results.csv", "results.json")
    folders = {path.parent for path in RUNS.rglob("report.md")}
    return {str(folder.relative_to(RUNS)): [(folder / name).read_bytes() for name in names] for folder in folders}


def trained():
    return {path: path.stat().st_mtime_ns for path in RUNS.glob("checkpoints/*/*")}


def test_a_varied_study_leaves_the_report_of_the_whole_one():
    """By --set, from Python, and by the command and the recipe that its report shows, it has a folder of its own."""
    (whole,) = before = reports()
    assert whole == "own"
    run("own.yaml", "--set", "train.steps=3")
    found = json.loads((RUNS / "own+train.steps=3" / "results.json").read_text())
    run(*shlex.split(found["command"])[2:])
    checkpoints = trained()
    Study(load_recipe("own.yaml", ["train.steps=3", "device=cpu"]), RUNS).run()
    found = json.loads((RUNS / "own+train.steps=3" / "results.json").read_text())
    words = shlex.split(found["command"], comments=True)
    Path(words[2]).write_text(found["recipe"])
    run(*words[2:])
    after = reports()
    assert after.keys() == {"own", "own+train.steps=3"} and after["own"] == before["own"]
    assert trained() == checkpoints


def test_recipes_that_want_one_folder_keep_the_reports_of_each_other():
    first, checkpoints = reports()["own"], trained()
    Path("other.yaml").write_text(Path("own.yaml").read_text().replace("steps: 3", "steps: 2"))
    run("other.yaml")
    run("other.yaml")
    after = reports()
    (place,) = after.keys() - {"own"}
    assert after[place] == first != after["own"] and place.startswith(f"own/{EARLIER}/")
    Path("own.yaml").write_text(Path("own.yaml").read_text().replace("name: own", "name: renamed"))
    run("own.yaml")
    assert reports().keys() == {"own", place, "renamed"}
    assert trained() == checkpoints  # which both recipes and the renamed one share


def test_the_report_of_another_recipe_of_the_same_name_is_not_shown_as_its_own():
    Path("other.yaml").write_text(Path("own.yaml").read_text().replace("steps: 3", "steps: 2"))

    def shown():
        """Whose report `show` names, of the recipes whose jobs are all done."""
        names = set[str]()
        for name in ("own.yaml", "other.yaml"):
            named = str(RUNS / "own" / "report.html") in genrobust("show", name).stdout
            names |= {name} if named else set()
        return names

    genrobust("evaluate", "other.yaml")
    assert shown() == {"own.yaml"}
    run("other.yaml")
    assert shown() == {"other.yaml"}
    (RUNS / "own" / "results.json").unlink()
    assert shown() == set()


@pytest.mark.parametrize("change", ["edited", "without a manifest"])
def test_a_report_that_was_edited_or_has_no_manifest_is_kept(change):
    folder, checkpoints = RUNS / "own", trained()
    if change == "edited":
        with (folder / "report.md").open("a") as file:
            file.write("My notes.")
        with (folder / "results.json").open("a") as file:
            file.write(" ")
    else:
        (folder / MANIFEST).unlink()
    before = reports()["own"]
    genrobust("run", "own.yaml")
    after = reports()
    (place,) = after.keys() - {"own"}
    assert after[place] == before
    assert trained() == checkpoints
    genrobust("verify", RUNS)  # what was edited is the user's, and no damage
