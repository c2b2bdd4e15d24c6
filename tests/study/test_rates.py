"""Measured rates: kept by stage and kind, and no study fails for a file of them that is damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from genrobust.recipe.classify import TrainConfig
from genrobust.recipe.diffusion import ClassModelConfig
from genrobust.recipe.generate import GeneratorConfig
from genrobust.study.rates import (
    RATES,
    estimate,
    measured_rate,
    of_class_model,
    of_generator,
    of_training,
    remember_rate,
)
from genrobust.study.timing import StageTimes


def test_a_rate_is_that_of_its_own_kind(tmp_path: Path) -> None:
    small, large = TrainConfig(image_size=64), TrainConfig(image_size=224)
    remember_rate(tmp_path / "runs", "train", of_training(small, "cpu"), 400.0)
    remember_rate(tmp_path / "runs", "train", of_training(large, "cpu"), 30.0)
    remember_rate(tmp_path / "runs", "train", of_training(small, "cpu"), 500.0)
    assert measured_rate(tmp_path / "runs", "train", of_training(small, "cpu")) == 500.0
    assert measured_rate(tmp_path / "runs", "train", of_training(large, "cpu")) == 30.0
    assert measured_rate(tmp_path / "runs", "train", of_training(small, "cuda")) is None
    assert measured_rate(tmp_path / "runs", "generate", of_generator(GeneratorConfig(), "cpu")) is None


def test_a_class_model_has_rates_of_its_own_by_its_size() -> None:
    generator, small, large = GeneratorConfig(), ClassModelConfig(depth=2), ClassModelConfig(depth=3)
    of_drawing = {of_generator(generator, "cpu", model) for model in (None, small, large)}
    of_training = {of_class_model(generator, model, "cpu") for model in (small, large)}
    assert len(of_drawing | of_training) == 5
    same = small.model_copy(update={"steps": 3, "learning_rate": 1.0})  # neither changes how long a step takes
    assert of_class_model(generator, same, "cpu") in of_training


def test_a_rate_knows_all_that_changes_it() -> None:
    """What makes a step slower has a rate of its own; what does not shares one."""
    train, place = TrainConfig(), "cpu, 1 thread"
    slower = [
        {"architecture": "resnet18"},
        {"model_kwargs": {"stem_width": 16}},
        {"image_size": 96},
        {"augmentation": "randaugment"},
        {"mixup": 0.2},
        {"batch_size": 32},
        {"precision": "float32"},
        {"crop": "random-resized"},
        {"split_batchnorm": True},
        {"workers": 2},
    ]
    of = [of_training(train.model_copy(update=change), place) for change in ({"precision": "bfloat16"}, *slower)]
    assert len(set(of)) == len(of)
    assert of_training(train, place) != of_training(train, "cpu, 2 threads")
    same = {"steps": 7, "learning_rate": 1.0, "validate_every": 3}
    assert of_training(train.model_copy(update=same), place) == of_training(train, place)
    drawn = [of_generator(GeneratorConfig(dtype=dtype), place) for dtype in ("float32", "bfloat16")]
    drawn.append(of_generator(GeneratorConfig(dtype="float32", width=128, height=128), place))
    assert len(set(drawn)) == 3


def test_an_estimate_shares_the_jobs_out(tmp_path: Path) -> None:
    remember_rate(tmp_path, "train", "small", 10.0)
    remember_rate(tmp_path, "train", "large", 2.0)
    jobs = [(100, "small")] * 3 + [(100, "large")]  # 10 s each, and 50 s
    assert estimate(tmp_path, "train", jobs, 1) == 80
    assert estimate(tmp_path, "train", jobs, 2) == 50
    assert estimate(tmp_path, "train", jobs[:3], 2) == 20
    assert estimate(tmp_path, "train", [], 4) == 0
    assert estimate(tmp_path, "train", [*jobs, (1, "unknown")], 2) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"train": 5}', '{"train": {"x": "fast"}}', '{"train": {"x": null}}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / RATES).write_text(text)
    assert measured_rate(tmp_path, "train", "x") is None
    remember_rate(tmp_path, "train", "x", 2.0)
    assert measured_rate(tmp_path, "train", "x") == 2.0


NOTING = """
import sys
from pathlib import Path
from genrobust.rates import remember_rate
for n in range(30):
    remember_rate(Path(sys.argv[1]), "train", f"{sys.argv[2]} {n}", 1.0)
"""


def test_two_processes_lose_no_rate(tmp_path: Path) -> None:
    both = [subprocess.Popen([sys.executable, "-c", NOTING, str(tmp_path), name]) for name in ("one", "other")]
    assert [process.wait() for process in both] == [0, 0]
    known = [measured_rate(tmp_path, "train", f"{name} {n}") for name in ("one", "other") for n in range(30)]
    assert known == [1.0] * 60


def test_what_a_kill_left_is_removed_by_the_next_stage_and_nothing_below(tmp_path: Path) -> None:
    left, below = tmp_path / ".rates.json.0a1b2c3d.part", tmp_path / "generated" / ".000000.tar.0a1b2c3d.part"
    below.parent.mkdir()
    for path in (left, below):
        path.write_bytes(b"half")
    with StageTimes(tmp_path).timed("train", "images", 1):
        assert not left.exists()
        assert below.exists()  # another process may be writing it
