"""Measured rates: kept by stage and kind, and no study fails for a file of them that is damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from genrobust.config import ClassModelConfig, GeneratorConfig, TrainConfig
from genrobust.rates import (
    RATES,
    likely_rate,
    measured_rate,
    of_class_model,
    of_classifier,
    of_generator,
    remember_rate,
)
from genrobust.recipe import load_recipe
from genrobust.timing import StageTimes


def test_a_rate_is_that_of_its_own_kind(tmp_path: Path) -> None:
    small, large = TrainConfig(image_size=64), TrainConfig(image_size=224)
    remember_rate(tmp_path / "runs", "train", of_classifier(small, "cpu"), 400.0)
    remember_rate(tmp_path / "runs", "train", of_classifier(large, "cpu"), 30.0)
    remember_rate(tmp_path / "runs", "train", of_classifier(small, "cpu"), 500.0)
    assert measured_rate(tmp_path / "runs", "train", of_classifier(small, "cpu")) == 500.0
    assert measured_rate(tmp_path / "runs", "train", of_classifier(large, "cpu")) == 30.0
    assert measured_rate(tmp_path / "runs", "train", of_classifier(small, "cuda")) is None
    assert measured_rate(tmp_path / "runs", "generate", of_generator(GeneratorConfig(), "cpu")) is None


def test_a_class_model_has_rates_of_its_own_by_its_size() -> None:
    generator, small, large = GeneratorConfig(), ClassModelConfig(depth=2), ClassModelConfig(depth=3)
    of_drawing = {of_generator(generator, "cpu", model) for model in (None, small, large)}
    of_training = {of_class_model(generator, model, "cpu") for model in (small, large)}
    assert len(of_drawing | of_training) == 5
    same = small.model_copy(update={"steps": 3, "learning_rate": 1.0})  # neither changes how long a step takes
    assert of_class_model(generator, same, "cpu") in of_training


def test_before_the_first_run_the_reference_machine_tells(tmp_path: Path) -> None:
    recipe = load_recipe("pictograms")
    of = of_classifier(recipe.train, "cpu")
    before = likely_rate(tmp_path, "train", of)
    assert before is not None
    assert before[1] is False
    remember_rate(tmp_path, "train", of, 5.0)
    assert likely_rate(tmp_path, "train", of) == (5.0, True)
    for quick in (False, True):  # the shipped recipes' own kinds are known, or the table says nothing of them
        generator = load_recipe("pictograms", quick=quick).generator
        assert generator is not None
        assert likely_rate(tmp_path, "generate", of_generator(generator, "cpu")) is not None
    assert likely_rate(tmp_path, "train", of_classifier(recipe.train, "cuda")) is None


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
    with StageTimes(tmp_path).timed("train", "images", "x"):
        assert not left.exists()
        assert below.exists()  # another process may be writing it
