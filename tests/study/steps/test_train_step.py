"""An arm says how its images were drawn, and what it starts from is trained first, and once."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from kill_and_resume import Starter, contents, kill_and_resume
from small_study import CLASSES, REAL, TRAIN, folders_section

from genrobust.classifiers import read_checkpoint_info
from genrobust.core import UserError
from genrobust.recipe import parse_recipe
from genrobust.study import Study


@pytest.fixture
def data(write_folder):
    sets = {name: write_folder(name, name, 6, CLASSES) for name in ("train", "test", "solid")}
    return folders_section(sets, extra={"wild": str(write_folder("wild", "emoji", 3, CLASSES))})


def recipe_of(data: dict[str, Any]) -> dict[str, Any]:
    mixture = [{"source": "real", "weight": 1, "balance": ["class"]}, {"source": "wild", "weight": 3}]
    return {
        "name": "balanced",
        "threads": 1,
        "device": "cpu",
        "generator": None,
        "data": data,
        "train": TRAIN | {"steps": 4},
        "arms": [{"name": "balanced", "mixture": mixture, "train": {"init": "arm:real"}}, REAL],
        "evaluate": {"batch_size": 4, "min_images": 2},
        "robustness": {"baselines": None, "bootstrap": 100},
    }


def test_a_study_says_how_its_arms_were_mixed_and_makes_nothing_twice(data, tmp_path):
    raw = recipe_of(data)
    study = Study(parse_recipe(raw), tmp_path)
    rows = [row.name for row in study.rows() if row.stage == "train"]
    assert rows == ["real, seed 0", "balanced, seed 0"], "although that is the first arm"
    _, files = study.run()
    counts = read_checkpoint_info(study.checkpoint(study.recipe.arm("balanced"), 0)).training["counts"]
    assert f"{counts['real']} (balanced by class) | {counts['wild']} |" in files["report.md"].read_text()
    balanced, real = json.loads(files["results.json"].read_text())["arms"]
    assert balanced["drawing"] == {"real": "balanced by class"} and not real["drawing"]
    made = contents(tmp_path / "checkpoints")
    again = Study(parse_recipe(raw), tmp_path)
    assert not any(row.left for row in again.rows())
    again.run()
    assert contents(tmp_path / "checkpoints") == made


def test_a_probe_before_fine_tuning_is_part_of_what_each_of_its_images_costs(data, tmp_path):
    """Else the rate counts the probed images, and what the training costs does not."""
    raw = recipe_of(data)
    raw["arms"][0]["train"] |= {"method": "lp-ft"}
    study = Study(parse_recipe(raw), tmp_path)
    run = next(run for run in study.plan.runs if run.of == "balanced")
    (item,) = study.plan.classifier(run).items()
    assert item.size > item.left == item.total * item.each


def test_a_source_without_styles_is_named_before_anything_is_trained(data, tmp_path):
    raw = recipe_of(data)
    raw["arms"][0]["mixture"][0]["balance"] = ["class", "style"]
    with pytest.raises(UserError, match=r"arm 'balanced': mixture: real: balance: .*no styles"):
        Study(parse_recipe(raw), tmp_path).rows()
    styled = raw | {"data": data | {"styles": {"pattern": "([0-9])[^/]*$"}}}
    assert Study(parse_recipe(styled), tmp_path).rows()


def test_a_network_that_cannot_be_tested_at_the_named_size_is_refused_before_anything_is_trained(data, tmp_path):
    raw = recipe_of(data) | {"evaluate": {"image_size": 48}}
    raw["arms"][1] = REAL | {"train": {"architecture": "test_vit"}}
    study = Study(parse_recipe(raw), tmp_path)
    with pytest.raises(UserError, match=r"evaluate\.image_size: test_vit takes images of the 32 px"):
        study.run()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.thorough
def test_it_survives_kills(start: Starter, data, tmp_path):
    path, out = tmp_path / "balanced.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(recipe_of(data)))
    kill_and_resume(start, ["evaluate", str(path), "--out", str(out)], out, kills=2)
