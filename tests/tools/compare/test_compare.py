"""The page that compares studies, and its command: on real studies, on a store, and on what is no study."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from html_page import EVIL, Page
from small_study import genrobust

from genrobust.report.view import ReportView
from genrobust.report.write import write_report
from genrobust.tools.compare.page import compare_html
from genrobust.tools.compare.ranking import find_results, rank

RUNS = Path("runs")
VARIED = "own+train.steps=3"


@pytest.fixture
def two_studies(own_run):
    """The folder runs holds a study and a variation of it."""
    genrobust("run", "own.yaml", "--set", "train.steps=3", "--workers", 1)


@pytest.mark.usefixtures("two_studies")
def test_studies_are_ranked_as_their_tables_say():
    done = genrobust("compare", RUNS, RUNS / "own")
    assert done.stdout.splitlines()[-1] == "compare.html"
    means = {}
    for study in ("own", VARIED):
        with (RUNS / study / "results.csv").open() as file:
            for row in csv.DictReader(file):
                if (row["metric"], row["seed"], row["minus"]) == ("top1", "", ""):
                    means.setdefault((study, row["arm"]), {})[row["test_set"]] = float(row["value"])
    by = "mean of shifts" if "mean of shifts" in means["own", "real"] else "test"
    text = " ".join(" ".join(line.split("│")[2].split()) for line in done.stdout.splitlines() if line[:1] == "│")
    listed = re.findall(r"(own\S*?): (real again|real)", text)
    assert sorted(listed) == sorted(means)
    values = [means[arm][by] for arm in listed]
    assert values == sorted(values, reverse=True)
    page = Page(Path("compare.html").read_text())
    links = [link["href"] for link in page.all("a") if not link["href"].startswith("#")]
    reports = [(RUNS / study).readlink() / "report.html" for study in ("own", VARIED)]
    assert {*links} == {f"runs/{report}" for report in reports}
    for study in ("own", VARIED):
        found = json.loads((RUNS / study / "results.json").read_text())
        assert found["test_images"].keys() == {"test", "solid"}
    assert page.text.count("100 classes") == 0 and "3 classes" in page.text


@pytest.mark.usefixtures("own_run")
def test_nothing_is_replaced_unasked_and_the_page_may_go_to_standard_output():
    Path("compare.html").write_text("mine")
    genrobust("compare", RUNS, code=2, said="--overwrite")
    assert Path("compare.html").read_text() == "mine"
    results = (RUNS / "own" / "results.json").read_bytes()
    genrobust("compare", RUNS, "--out", RUNS / "own" / "results.json", "--overwrite", code=2, said="an input")
    genrobust("compare", RUNS, "--out", "photo.png", "--overwrite", code=2, said="photo.png")
    assert (RUNS / "own" / "results.json").read_bytes() == results
    genrobust("compare", RUNS, "--overwrite")
    done = genrobust("compare", RUNS, "--out", "-", said="own: real again")
    assert done.stdout == Path("compare.html").read_text()


@pytest.mark.usefixtures("own_run")
def test_studies_at_a_url_are_those_of_their_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("genrobust.core.remote._opened", {})
    monkeypatch.setenv("GENROBUST_COPIES", str(tmp_path / "copies"))
    store, url = fsspec.filesystem("memory"), f"memory://{tmp_path.name}/runs"
    own = (RUNS / "own").readlink().name
    (RUNS / "own").unlink()  # which no store has
    store.put(str(RUNS), f"/{tmp_path.name}/runs", recursive=True)
    local = genrobust("compare", RUNS)
    for number, run in enumerate((url, f"{url}/{own}", f"{url}/{own}/results.json")):
        done = genrobust("compare", run, "--out", f"{number}.html")
        assert done.stdout.splitlines()[:-1] == local.stdout.splitlines()[:-1]
        assert "report.html" not in Path(f"{number}.html").read_text()  # which is not on this machine
    names = {path.name for path in (tmp_path / "copies").rglob("*") if path.is_file()}
    assert names - {".lock"} == {"results.json", "manifest.json"}
    genrobust("compare", f"{url}/none", "--out", "none.html", code=2, said=f"{url}/none")
    store.rm(f"/{tmp_path.name}", recursive=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("none", "none: no results of a study"),
        ("begun", "begun: no results of a study"),
        ("own.yaml", "own.yaml"),
        ("runs/own/report.html", "runs/own/report.html"),
        ("none.json", "none.json"),
        ("no.json", "no.json"),
        ("list.json", "list.json"),
        ("other.json", "other.json"),
        ("earlier.json", "earlier.json: a summary of format 2"),
        ("http://127.0.0.1:1/runs", "http://127.0.0.1:1/runs"),
        ("changed", "changed/own/results.json"),
    ],
)
@pytest.mark.usefixtures("own_run")
def test_what_is_no_study_is_named(words, said):
    Path("begun", "checkpoints").mkdir(parents=True)
    Path("no.json").write_text("<html>")
    Path("list.json").write_text("[1]")
    Path("other.json").write_text('{"title": "an audit"}')
    found = json.loads((RUNS / "own" / "results.json").read_text())
    found["summary"]["format"] = 2
    Path("earlier.json").write_text(json.dumps(found))
    shutil.copytree(RUNS, "changed")
    with Path("changed", "own", "results.json").open("a") as file:
        file.write(" ")
    genrobust("compare", RUNS, words, code=2, said=said)
    assert not Path("compare.html").exists()


def test_names_from_outside_are_text_and_the_page_loads_nothing(record, renamed, tmp_path):
    arms = [replace(a, architecture=EVIL, augmentation=EVIL, parts={EVIL: 3}) for a in record.arms]
    arms[1] = replace(arms[1], name=f"{EVIL}real+generated")
    changes = {"title": EVIL, "command": EVIL, "recipe_yaml": EVIL, "date": EVIL, "environment": {"machine": EVIL}}
    changes["test_images"] = {f"{EVIL * (test == 'solid')}{test}": EVIL for test in record.test_images}
    evil = replace(record, summary=renamed(EVIL), arms=tuple(arms), missed=(), **changes)
    write_report(ReportView(record), tmp_path / "calm")
    write_report(ReportView(evil), tmp_path / "<b>evil")
    page = Page(compare_html(rank(find_results([str(tmp_path)])), tmp_path / "compare.html"))
    assert len(page.all("script")) == len(page.scripts) == 1
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    assert not page.all("b") and page.text.count(EVIL) >= 12
    assert not [a for _, attributes in page.elements for a in attributes if a in ("src", "srcset")]
    assert {link["href"] for link in page.all("a") if link["href"][0] != "#"} == {
        f"{folder}/report.html" for folder in ("calm", "%3Cb%3Eevil")
    }
