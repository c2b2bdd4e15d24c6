"""A study whose recipe names the groups of test images: wider intervals, and no work that is done again."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from small_study import QUICK, REAL, TRAIN, genrobust

COLORS = {"blue": (20, 40, 220), "red": (220, 40, 20)}
SITES = ("ann", "bob", "cleo", "dan", "eve", "flo")
EACH = 5  # images of each class and site
RULES = {"names": {"pattern": "/([a-z]+)_[0-9]+"}, "table": {"column": "site"}}
PREDICTED = ("checkpoints", "predictions")


def photo(of_class, seed):
    """A grainy photograph of the class's color."""
    pixels = np.random.default_rng(seed).normal(COLORS[of_class], 25, (32, 32, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def rows():
    """The images of a shifted set: class, site, number and photograph; every other site calls red blue."""
    for number, of_class in enumerate(COLORS):
        for place, site in enumerate(SITES):
            shows = [*COLORS][(number + place) % 2]
            for i in range(EACH):
                yield of_class, site, i, photo(shows, 7000 + 1000 * number + 100 * place + i)


@pytest.fixture
def recipe(tmp_path):
    """A recipe of two classes, with one shifted set in folders and the same one in a parquet file; without groups."""
    for name, first in (("train", 0), ("test", 50)):
        for of_class in COLORS:
            (tmp_path / name / of_class).mkdir(parents=True)
            for i in range(16):
                photo(of_class, first + i).save(tmp_path / name / of_class / f"{i}.png")
    table = {"image": [], "label": [], "site": []}
    for of_class, site, i, image in rows():
        path = tmp_path / "names" / of_class / f"{site}_{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=1)  # other bytes than those of the file: no copy
        table["image"].append({"bytes": buffer.getvalue(), "path": None})
        table["label"].append([*COLORS].index(of_class))
        table["site"].append(site)
    features = {"features": {"label": {"names": [*COLORS], "_type": "ClassLabel"}}}
    made = pa.table(table).replace_schema_metadata({"huggingface": json.dumps({"info": features})})
    pq.write_table(made, tmp_path / "table.parquet")
    sets = {"names": str(tmp_path / "names"), "table": str(tmp_path / "table.parquet")}
    data = {"source": "folders", "train": str(tmp_path / "train"), "test": str(tmp_path / "test"), "shifts": sets}
    settings = {**QUICK, "data": data, "generator": None, "train": {**TRAIN, "steps": 40, "learning_rate": 0.01}}
    settings |= {"arms": [REAL], "evaluate": {"min_images": 10}, "robustness": {"baselines": None, "bootstrap": 200}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path / "small.yaml"


def made(out):
    return {p: p.stat().st_mtime_ns for stage in PREDICTED for p in (out / stage).rglob("*.*") if p.name != ".lock"}


def scores(out, metric="top1"):
    with (out / "small" / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == metric and not row["minus"]]
    return {row["test_set"]: row for row in rows if not row["seed"]}


def width(row):
    return float(row["hi"]) - float(row["lo"])


def test_groups_widen_intervals_and_repeat_no_work(recipe, tmp_path):
    out = tmp_path / "out"
    genrobust("run", recipe, "--out", out)
    plain, files = scores(out), made(out)
    assert {row["groups"] for row in plain.values()} == {"0"} and len(files) >= 4
    rules = [word for name, rule in RULES.items() for word in ("--set", f"data.groups.{name}={json.dumps(rule)}")]
    rules += ["--set", "name=small"]
    shown = genrobust("show", recipe, "--out", out, *rules).stdout
    assert "left:" not in shown
    genrobust("run", recipe, "--out", out, *rules)
    found = scores(out)
    assert made(out) == files
    assert {test: row["groups"] for test, row in found.items()} == {
        "test": "0",
        "names": "6",
        "table": "6",
        "mean of shifts": "6",  # of both sets: they have the same sites
    }
    for test, row in found.items():
        assert (row["value"], row["n"]) == (plain[test]["value"], plain[test]["n"])
        assert width(row) > 2 * width(plain[test]) if row["groups"] != "0" else row == plain[test]
    assert found["names"]["lo"] == found["table"]["lo"]  # the same images and sites
    report = (out / "small" / "report.md").read_text()
    assert "6 groups in names" in report and "60 images, 6 groups" in report
    results = json.loads((out / "small" / "results.json").read_text())
    assert yaml.safe_load(results["recipe"])["data"]["groups"]["table"]["column"] == "site"

    own = [word for name in RULES for word in ("--set", f"data.groups.{name}.shared=false")]
    genrobust("run", recipe, "--out", out, *rules, *own)
    apart = scores(out)
    assert (apart["names"]["groups"], apart["mean of shifts"]["groups"]) == ("6", "12")
    assert width(apart["mean of shifts"]) < width(found["mean of shifts"])
    assert made(out) == files
    shown = genrobust("evaluate", recipe, "--out", out, *rules, "--metric", "worst_group").stdout
    assert made(out) == files
    worst = [f"{float(row['value']):.1f}" for row in scores(out, "worst_group").values() if row["test_set"] in RULES]
    assert len(worst) == 2 and shown.split()[-5:-2:2] == worst, "as in the report"


def test_a_rule_that_does_not_fit_stops_before_any_work(recipe, tmp_path):
    out = tmp_path / "out"
    for rule, named in (
        ("data.groups.names.pattern=/([a-e][a-z]+)_", "data.groups.names.pattern: 10 of the 60 images of 'names'"),
        ("data.groups.table.column=camera", "no column 'camera': it has image, label, site"),
    ):
        for command in ("run", "show"):
            genrobust(command, recipe, "--out", out, "--set", rule, code=2, said=named)
    assert not (out / "checkpoints").exists()
