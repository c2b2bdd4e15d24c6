"""An arm that is taught by another waits for it, is named after it, and says so in the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kill_and_resume import Starter, contents, kill_and_resume
from small_study import CLASSES, REAL, TRAIN, folders_section

from genrobust.classifiers import read_checkpoint_info
from genrobust.core import UserError
from genrobust.recipe import parse_recipe
from genrobust.study import Study
from genrobust.study.results.record import device_seconds


@pytest.fixture
def data(write_folder):
    sets = {name: write_folder(name, name, 6, CLASSES) for name in ("train", "test", "solid")}
    return folders_section(sets, extra={"wild": str(write_folder("wild", "emoji", 3, CLASSES))})


def recipe_of(data: dict[str, Any], teacher: str = "real", seeds: tuple[int, ...] = (0,), **labels: Any):
    taught = {"source": "wild", "weight": 3, "loss_weight": 0.5, "labels": {"arm": teacher, **labels}}
    student = {"name": "student", "mixture": [{"source": "real", "weight": 1, "balance": ["class"]}, taught]}
    return {
        "name": "taught",
        "threads": 1,
        "device": "cpu",
        "generator": None,
        "data": data,
        "seeds": list(seeds),
        "train": TRAIN | {"steps": 4},
        "arms": [student, REAL | {"name": teacher}],
        "reference": teacher,
        "evaluate": {"batch_size": 4, "min_images": 2},
        "robustness": {"baselines": None, "bootstrap": 100},
    }


def folders(raw: dict[str, Any], out: Path) -> dict[str, Path]:
    graph = Study(parse_recipe(raw), out).graph
    return {run.name: graph.checkpoints.of(run).folder for run in graph.runs}


def test_the_teacher_of_the_same_seed_is_trained_first_and_names_the_folder(data, tmp_path):
    raw = recipe_of(data, seeds=(0, 1))
    study = Study(parse_recipe(raw), tmp_path)
    rows = {row.name: row.jobs for row in study.rows() if row.stage.name == "train"}
    assert list(rows) == ["real, 2 seeds", "student, 2 seeds"], "although the student is the first arm"
    sizes = {name: {job.size for job in jobs} for name, jobs in rows.items()}
    assert sizes == {"real, 2 seeds": {16}, "student, 2 seeds": {16 + 9}}, "9 images are labeled"
    plain = folders(raw, tmp_path)
    assert folders(recipe_of(data, "teacher", seeds=(0, 1)), tmp_path)["student, seed 0"] == plain["student, seed 0"]
    changed = [recipe_of(data, temperature=2.0), recipe_of(data)]
    changed[1]["arms"][1] = REAL | {"train": {"steps": 5}}
    others = [folders(one, tmp_path)["student, seed 0"] for one in changed]
    assert len({plain["student, seed 0"], plain["student, seed 1"], *others}) == 4


def test_a_study_says_how_its_arms_were_mixed_and_makes_nothing_twice(data, tmp_path):
    raw = recipe_of(data, temperature=2.0)
    study = Study(parse_recipe(raw), tmp_path)
    _, files = study.run()
    counts = read_checkpoint_info(study.checkpoint(study.recipe.arm("student"), 0)).training["counts"]
    words = "loss weight 0.5, labels by real, temperature 2"
    images = f"| student | {counts['real']} (balanced by class) | 9 ({words}) | "
    assert images in files["report.md"].read_text() and words in files["report.html"].read_text()
    student, real = json.loads(files["results.json"].read_text())["arms"]
    assert student["drawing"] == {"real": "balanced by class", "wild": words} and "drawing" not in real
    runs = {run.of: run for run in study.graph.runs}
    taught, plain = (device_seconds(study.graph, runs[arm])["train"] for arm in ("student", "real"))
    assert taught == pytest.approx(2 * plain), "the teacher's training counts"
    made = contents(tmp_path / "checkpoints")
    again = Study(parse_recipe(raw), tmp_path)
    assert not any(row.left for row in again.rows())
    again.run()
    assert contents(tmp_path / "checkpoints") == made


def test_a_source_without_styles_is_named_before_anything_is_trained(data, tmp_path):
    raw = recipe_of(data)
    raw["arms"][0]["mixture"][0]["balance"] = ["class", "style"]
    with pytest.raises(UserError, match=r"arm 'student': mixture: real: balance: .*no styles"):
        Study(parse_recipe(raw), tmp_path).rows()
    styled = raw | {"data": data | {"styles": {"pattern": "([0-9])[^/]*$"}}}
    assert Study(parse_recipe(styled), tmp_path).rows()


@pytest.mark.thorough
def test_it_survives_kills(start: Starter, data, tmp_path):
    path, out = tmp_path / "taught.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(recipe_of(data)))
    kill_and_resume(start, ["evaluate", str(path), "--out", str(out)], out, kills=2)
