"""The folder of a report is named after all that it is made of: no report replaces another's."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from small_study import genrobust

from genrobust.recipe import load_recipe
from genrobust.store import MANIFEST
from genrobust.study import Study

pytestmark = pytest.mark.usefixtures("own_run")
RUNS = Path("runs")


def run(*words):
    genrobust("run", *words, "--workers", 1)


def reports():
    """The bytes of all reports by the names of their folders."""
    names = ("report.html", "report.md", "results.csv", "results.json")
    folders = [path.parent for path in RUNS.glob("*/report.md") if not path.parent.is_symlink()]
    return {folder.name: [(folder / name).read_bytes() for name in names] for folder in folders}


def newest(name="own"):
    """The name of the folder that the link of a study leads to."""
    return (RUNS / name).readlink().name


def trained():
    return {path: path.stat().st_mtime_ns for path in RUNS.glob("checkpoints/*/*")}


def test_a_varied_study_leaves_the_report_of_the_whole_one():
    """By --set, from Python, and by the command and the recipe that its report shows, it has a folder of its own."""
    (whole,) = before = reports()
    assert whole == newest() and whole.startswith("own-")
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
    varied = newest("own+train.steps=3")
    assert varied.startswith("own-train-steps-3-") and after.keys() == {whole, varied} and after[whole] == before[whole]
    assert trained() == checkpoints


def test_reports_of_other_recipes_of_one_name_lie_side_by_side():
    first, before, checkpoints = newest(), reports(), trained()
    Path("other.yaml").write_text(Path("own.yaml").read_text().replace("steps: 3", "steps: 2"))
    genrobust("evaluate", "other.yaml")
    assert "to write the report" in genrobust("show", "other.yaml").stdout
    for _ in range(2):
        run("other.yaml")
    second = newest()
    assert first != second and reports().keys() == {first, second} and reports()[first] == before[first]
    for name, folder in (("own.yaml", first), ("other.yaml", "own")):  # by its link, the newest
        assert str(RUNS / folder / "report.html") in genrobust("show", name).stdout
    Path("own.yaml").write_text(Path("own.yaml").read_text().replace("name: own", "name: renamed"))
    run("own.yaml")
    assert reports().keys() == {first, second, newest("renamed")}
    assert trained() == checkpoints  # which both recipes and the renamed one share


def test_without_links_the_folder_of_the_report_is_named():
    folder = newest()
    (RUNS / "own").unlink()
    (RUNS / "own").write_text("mine")
    assert str(RUNS / folder / "report.html") in genrobust("run", "own.yaml").stdout
    assert (RUNS / "own").read_text() == "mine"


def test_a_copy_that_follows_links_has_an_old_report_in_place_of_the_link_and_is_told_so():
    shutil.copytree(RUNS, "followed")
    shutil.rmtree(RUNS)
    shutil.move("followed", RUNS)
    changed = ("own.yaml", "--set", "question=zebras")
    run(*changed)
    (current,) = {path.parent for path in RUNS.glob("own-*/report.md") if "zebras" in path.read_text()}
    for command in ("run", "show"):
        done = genrobust(command, *changed)
        told = " ".join(f"{done.stdout} {done.stderr}".split())
        assert f"{RUNS / 'own'} is no link" in told and str(current) in told
    assert "zebras" not in (RUNS / "own/report.md").read_text()


@pytest.mark.parametrize("change", ["edited", "without a manifest"])
def test_a_report_that_was_edited_or_has_no_manifest_stays_and_is_named(change):
    folder = RUNS / newest()
    if change == "edited":
        with (folder / "report.md").open("a") as file:
            file.write("My notes.")
    else:
        (folder / MANIFEST).unlink()
    before = reports()
    genrobust("run", "own.yaml", code=2, said="move it away")
    assert reports() == before
    assert str(RUNS / "own") in genrobust("verify", RUNS, code=1).stdout
