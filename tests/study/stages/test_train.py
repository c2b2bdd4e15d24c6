"""An arm that starts from another one waits for it, and the report says how its images were drawn."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from kill_and_resume import Starter, contents, kill_and_resume
from small_study import CLASSES, REAL, TRAIN, folders_section

from genrobust.core import UserError
from genrobust.recipe import parse_recipe
from genrobust.study import Study
from genrobust.study.results.record import device_seconds


@pytest.fixture
def data(write_folder):
    sets = {name: write_folder(name, name, 6, CLASSES) for name in ("train", "test", "solid")}
    return folders_section(sets, extra={"wild": str(write_folder("wild", "emoji", 3, CLASSES))})


def recipe_of(data: dict[str, Any], balance: tuple[str, ...] = ("class",)) -> dict[str, Any]:
    mixture = [{"source": "real", "weight": 1, "balance": list(balance)}, {"source": "wild", "weight": 3}]
    return {
        "name": "started",
        "threads": 1,
        "device": "cpu",
        "generator": None,
        "data": data,
        "train": TRAIN | {"steps": 4},
        "arms": [{"name": "later", "mixture": mixture, "train": {"init": "arm:real"}}, REAL],
        "evaluate": {"batch_size": 4, "min_images": 2},
        "robustness": {"baselines": None, "bootstrap": 100},
    }


def test_a_study_says_how_its_arms_were_mixed_and_makes_nothing_twice(data, tmp_path):
    study = Study(parse_recipe(recipe_of(data)), tmp_path)
    _, files = study.run()
    assert "(balanced by class) | 9 | " in files["report.md"].read_text()
    later, real = json.loads(files["results.json"].read_text())["arms"]
    assert later["drawing"] == {"real": "balanced by class"} and "drawing" not in real
    runs = {run.of: run for run in study.graph.runs}
    both, first = (device_seconds(study.graph, runs[arm])["train"] for arm in ("later", "real"))
    assert both == pytest.approx(2 * first), "the training that it starts from counts"
    made = contents(tmp_path / "checkpoints")
    again = Study(parse_recipe(recipe_of(data)), tmp_path)
    assert not any(row.left for row in again.rows())
    again.run()
    assert contents(tmp_path / "checkpoints") == made


def test_a_source_without_styles_is_named_before_anything_is_trained(data, tmp_path):
    raw = recipe_of(data, ("class", "style"))
    with pytest.raises(UserError, match=r"arm 'later': mixture: real: balance: .*no styles"):
        Study(parse_recipe(raw), tmp_path).rows()
    styled = raw | {"data": data | {"styles": {"pattern": "([0-9])[^/]*$"}}}
    assert Study(parse_recipe(styled), tmp_path).rows()


@pytest.mark.thorough
def test_it_survives_kills(start: Starter, data, tmp_path):
    path, out = tmp_path / "started.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(recipe_of(data)))
    kill_and_resume(start, ["evaluate", str(path), "--out", str(out)], out, kills=2)
