"""A study with two generated datasets, all the way: what is shared is made once, and a change redoes what it must."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from genrobust.errors import UserError
from genrobust.recipe import parse_recipe
from genrobust.study import Study
from genrobust.work import steps

RECIPE = {
    "name": "two",
    "threads": 1,
    "device": "cpu",
    "generator": {"steps": 1},
    "generate": {"per_class": 2, "batch_size": 100},
    "datasets": {
        "plain": {"generate": {"per_class": 1, "prompts": {"strategy": "single"}}},
        "redrawn": {"generator": {"mode": "labels+images", "steps": 2}, "generate": {"per_class": 1}},
        "sure": {"filter": {"drop": 0.5}},
        "unused": {"generator": {"steps": 3}},
    },
    "train": {"steps": 2, "batch_size": 4, "warmup_steps": 0},
    "arms": [
        {"name": "real", "mixture": "real"},
        {"name": "styled", "mixture": ["real", "generated"]},
        {"name": "plain", "mixture": [{"source": "real", "weight": 1}, {"source": "plain", "weight": 2}]},
        {"name": "redrawn", "mixture": "redrawn"},
        {"name": "sure", "mixture": "sure"},
        {"name": "retrieved", "mixture": ["real", "retrieved"]},
    ],
    "evaluate": {"tests": ["hand-drawn"], "min_images": 50},
    "robustness": {"baselines": None, "bootstrap": 20},
}


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Study]:
    return lambda **change: Study(parse_recipe(RECIPE | change), tmp_path)


def files(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_each_dataset_is_made_once_and_a_second_run_makes_nothing(study: Callable[..., Study], tmp_path: Path) -> None:
    first = study()
    assert list(first.datasets) == ["generated", "plain", "redrawn", "sure"]
    before = list(steps(first))
    assert [(s.what, s.total, s.done) for s in before[:2]] == [("generated", 200, 0), ("plain", 100, 0)]
    assert [s.folder is None for s in before if s.stage == "train"] == [False, True, True, True, True, True]
    summary, _ = first.run()
    assert summary.arms == ("real", "styled", "plain", "redrawn", "sure", "retrieved")
    assert len(list((tmp_path / "generated").iterdir())) == 3  # an unused dataset is not made
    assert Counter(first.datasets["plain"].images.labels.tolist()) == dict.fromkeys(range(100), 1)
    assert set(first.datasets["plain"].images.styles) != set(first.datasets["generated"].images.styles)
    sure = first.images("sure")  # half of each class of the very images of "generated", which are made once
    assert Counter(sure.labels.tolist()) == dict.fromkeys(range(100), 1)
    assert set(sure.keys) < set(first.images("generated").keys)
    sources = first.datasets["redrawn"].images.metadata()["source"].to_pylist()
    assert set(sources) <= set(first.data.train.keys)  # the real training split, and no other
    wanted = Counter(first.datasets["generated"].images.labels.tolist())
    assert Counter(first.retrieved("retrieved").labels.tolist()) == wanted
    assert Counter(first.retrieved("retrieved-by-class").labels.tolist()) == wanted

    stages = ("generated", "checkpoints", "predictions", "filters")
    made = {stage: files(tmp_path / stage) for stage in stages}
    again = study()
    assert all(step.left == 0 for step in steps(again))
    again.run()
    assert {stage: files(tmp_path / stage) for stage in stages} == made


def test_a_changed_dataset_redoes_only_its_own_arm(study: Callable[..., Study]) -> None:
    def folders(study: Study) -> dict[str, Path]:
        return {name: study.dataset(name).folder for name in ("generated", "plain", "unused")}

    before = folders(study())
    datasets = RECIPE["datasets"] | {"plain": {"generate": {"per_class": 1, "prompts": {"negative_prompt": "grey"}}}}
    after = folders(study(datasets=datasets))
    assert [name for name in before if before[name] != after[name]] == ["plain"]
    assert len(set(before.values())) == 3


def test_an_unknown_dataset_is_named(study: Callable[..., Study]) -> None:
    with pytest.raises(UserError, match="no dataset 'plane'; there are generated, plain, redrawn, sure, unused"):
        study().dataset("plane")
