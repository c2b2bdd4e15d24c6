"""TensorBoard shows every metric once, and tracking changes nothing that is made."""

import sys
import time

import pytest
import yaml
from kill_and_resume import contents
from small_study import QUICK, REAL, TRAIN, genrobust
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from genrobust.classifiers import read_checkpoint_info
from genrobust.core import UserError
from genrobust.recipe import parse_recipe
from genrobust.study import Study
from genrobust.study.tracking import Tracking
from genrobust.train import loop

STEPS, SEEDS = 25, (0, 1)
RECIPE = {
    **QUICK,
    "generator": None,
    "seeds": list(SEEDS),
    "train": TRAIN | {"steps": STEPS, "batch_size": 8, "warmup_steps": 5, "validate_every": 10, "save_every": 7},
    "arms": [REAL],
    "evaluate": {"tests": ["hand-drawn"], "min_images": 50},
    "robustness": {"baselines": None, "bootstrap": 100},
}
LOOKS = [7, 10, 14, 20, 21, 25]  # every tenth step, those that save, and the last
VALIDATED = [10, 20, 25]


@pytest.fixture
def study(tmp_path):
    """A study in the folder `runs`; tracked unless said otherwise."""
    return lambda **change: Study(parse_recipe(RECIPE | {"track": True} | change), tmp_path / "runs")


@pytest.fixture
def folder(tmp_path):
    """The tracker's."""
    return tmp_path / "runs" / "track" / "small"


def read(folder):
    """What the event files below a tracker's folder hold, by run."""
    found = {run.name: EventAccumulator(str(run)) for run in sorted(folder.iterdir()) if run.is_dir()}
    for run in found.values():
        run.Reload()
    return found


def points(history, name):
    return [(entry["step"], pytest.approx(entry[name], rel=1e-6)) for entry in history]


def curve(run, name):
    return [(point.step, point.value) for point in run.Scalars(name)]


@pytest.mark.thorough
def test_a_study_is_told_once_and_makes_the_same_with_and_without(study, folder, tmp_path):
    study().run()
    runs = read(folder)
    infos = [read_checkpoint_info(p) for p in (tmp_path / "runs" / "checkpoints").iterdir()]
    assert len(runs) == len(SEEDS)
    for info in infos:
        seed, history = info.training["seed"], info.training["history"]
        (run,) = (run for name, run in runs.items() if name.startswith(f"real-seed-{seed}-"))
        assert curve(run, "val_top1") == points(history, "val_top1")
        losses = curve(run, "loss")
        assert [step for step, _ in losses] == LOOKS
        assert points(history, "loss") == [point for point in losses if point[0] in VALIDATED]
        train = study().recipe.train
        warmup = train.warmup_for(0)
        rates = [(step, pytest.approx(loop.learning_rate(train, step - 1, STEPS, warmup))) for step in LOOKS]
        assert curve(run, "learning_rate") == rates
        assert b"steps: 25" in run.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0]
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    study().run()  # all is found done
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before

    other = Study(parse_recipe(RECIPE), tmp_path / "untracked")
    other.run()
    assert not (tmp_path / "untracked" / "track").exists()
    assert contents(tmp_path / "untracked" / "checkpoints") == contents(tmp_path / "runs" / "checkpoints")


@pytest.mark.thorough
def test_after_kill_9_every_point_is_there_once(start, folder, tmp_path):
    one = {"seeds": [0], "train": RECIPE["train"] | {"steps": 200, "validate_every": 100}, "track": True}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | one))
    runs = tmp_path / "runs"
    words = ["train", str(tmp_path / "recipe.yaml"), "--out", str(runs)]

    def told_five():
        if not folder.exists():
            return False
        return any(len(run.Scalars("loss")) >= 5 for run in read(folder).values() if "loss" in run.Tags()["scalars"])

    assert start(words, kill_when=told_five).codes == [-9]
    assert not list((runs / "checkpoints").glob("*/manifest.json"))
    time.sleep(1.1)  # TensorBoard orders files by their second
    start.to_end(words)
    (made,) = (runs / "checkpoints").glob("*/manifest.json")
    history = read_checkpoint_info(made.parent).training["history"]
    (run,) = read(folder).values()
    assert curve(run, "val_top1") == points(history, "val_top1")
    looks = sorted({*range(7, 200, 7), *range(10, 201, 10)})
    assert [step for step, _ in curve(run, "loss")] == looks


def test_a_missing_package_is_named_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match=r"genrobust\[track\]"):
        Tracking(tmp_path, "")
    genrobust("run", "pictograms", "--set", "track=true", "--out", tmp_path / "runs", code=2)
    assert not (tmp_path / "runs").exists()
