"""The metrics on the pages are those of the studies' results, and none is typed by hand."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "docs" / "templates").rglob("*.j2"))
RESULTS = sorted((ROOT / "docs" / "results").glob("*.json"))
OURS = r"(?<!\w)[+\u2212-]\d+\.\d|\d+\.\d+ ?(?:%|points)"  # a signed decimal, or one with a unit


@pytest.fixture(scope="module")
def prose():
    sys.path.append(str(ROOT / "docs"))
    yield importlib.import_module("prose")
    sys.path.remove(str(ROOT / "docs"))


@pytest.fixture(scope="module")
def keeping(prose):
    return sys.modules["keeping"]


def test_every_page_is_what_its_template_and_the_results_give(prose):
    pages = prose.pages()
    assert len(pages) == len(TEMPLATES) > 1
    for page, text in pages.items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name}: run python docs/prose.py"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_no_measured_metric_is_typed_by_hand(template):
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|```.*?```", "", template.read_text(encoding="utf-8"), flags=re.S)
    assert re.findall(OURS, text) == []


@pytest.mark.parametrize("file", RESULTS, ids=lambda path: path.stem)
def test_kept_results_agree_with_themselves(file, prose):
    study = prose.Result.of(file.stem)
    assert file.read_text(encoding="utf-8").count("\n") > len(study.scores)
    for (metric, arm, test, minus), score in study.scores.items():
        assert score["lo"] <= score["value"] <= score["hi"], (metric, arm, test, minus)
        own, other = ((metric, name, test, "") for name in (arm, minus))
        if minus and {own, other} <= study.scores.keys():
            difference = study.scores[own]["value"] - study.scores[other]["value"]
            assert score["value"] == pytest.approx(difference, abs=0.02), (metric, arm, test, minus)


def test_every_picture_of_results_shows_those_that_are_kept(prose):
    said = {}
    for file in sorted([*(ROOT / "docs" / "figures").iterdir(), *(ROOT / "docs" / "pictures").iterdir()]):
        for names, digest in re.findall(rb"drawn from ([\w ,-]+): ([0-9a-f]{12})", file.read_bytes()):
            said[file.name] = f"drawn from {names.decode()}: {digest.decode()}"
            assert said[file.name] == prose.drawn_from(*names.decode().split(", ")), (
                f"{file.name} shows earlier results: run docs/figures.py or docs/pictures.py"
            )
    assert {"overview.webp", *(file.name for file in (ROOT / "docs" / "figures").iterdir())} == said.keys()


def test_a_metric_that_was_not_measured_is_an_error(prose):
    told = {"environment": {"machine": "2 CPU cores, x86_64, Linux", "device": "cpu (this CPU has AVX2); 2 workers"}}
    row = {"value": 12.34, "lo": -1.0, "hi": 25.06, "groups": 0}
    study = prose.Result(told | {"date": "2026-01-31"}, {("top1", "a", "mean of shifts", "b"): row})
    assert study.gain("a", "b") == "+12.3 (-1.0 to 25.1)"
    assert study.ran == "2 CPU cores with AVX2, 2026-01-31"
    with pytest.raises(KeyError):
        study.top1("a")
    assert study.er("a") == "\u2013"


def test_condensing_keeps_what_pages_quote_and_no_single_seed(prose, keeping):
    score = dict.fromkeys(keeping.KEPT, 1.0) | {"metric": "top1", "arm": "a", "test_set": "t", "minus": ""}
    summary = {key: [] for key in keeping.OF_SUMMARY} | {"lines": {"t": {"r2": 0.9, "n": 42, "slope": 1.0}}}
    summary |= {"reference": "r", "references": {"a": "r"}}
    every, er = {"seed": None}, {"metric": "er"}
    quoted = [
        {},
        {"minus": "c"},
        er,
        er | {"minus": "r"},
    ]
    left_out = [
        {"metric": "nll"},
        {"test_set": "t on the classes of u"},
        {"seed": 0},
        {"minus": "b"},
        er | {"minus": "b"},
    ]
    summary["scores"] = [score | every | other for other in (*quoted, *left_out)]
    told = dict.fromkeys(("title", "date", "command", "environment", "qualities"), "x") | {"claims": [{"than": "c"}]}
    arms = [{"name": "a", "seconds": {"train": 90.4}}, {"name": "b", "seconds": None}]
    kept = json.loads(keeping.condensed(told | {"arms": arms, "summary": summary}))
    assert kept["seconds"] == {"a": {"train": 90}, "b": {}}
    assert prose.Result(kept, {}).minutes("a", "train") == "1.5"
    assert kept["scores"] == [list(keeping.KEPT), *(list((score | other).values()) for other in quoted)]
    assert kept["lines"] == {"t": {"r2": 0.9, "n": 42}} and "curves" not in kept


def test_condensing_keeps_the_clean_and_the_mean_accuracy_along_a_curve(prose, keeping):
    score = dict.fromkeys(keeping.KEPT, 1.0) | {"metric": "top1", "minus": "", "seed": None}
    rows = [{**score, "arm": share, "test_set": t, "value": v} for share, t, v in (
        ("0", "test", 80.0), ("0", prose.MEAN, 60.0), ("0", "solid", 1.0), ("1", "test", 90.0), ("1", prose.MEAN, 40.0),
    )]  # fmt: skip
    rows.append({**score, "arm": "0", "test_set": prose.MEAN, "value": 20.0, "minus": "1"})
    found = keeping.condensed_curve({"clean": "test", "scores": [*rows, {**rows[0], "seed": 0}]})
    assert len(found) == 1 + len(rows) - 1
    curve = prose.Result({"curves": {"tuned": prose.named(found)}}, {}).curve("tuned")
    assert (curve.top1("0", "test"), curve.top1("1"), curve.gain("0", "1")[:5]) == ("80.0", "40.0", "+20.0")
