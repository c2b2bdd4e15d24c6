"""Measured rates: kept by stage and kind, and no study fails for a file of them that is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from genrobust.config import GeneratorConfig, TrainConfig
from genrobust.rates import RATES, measured_rate, of_classifier, of_generator, remember_rate


def test_a_rate_is_that_of_its_own_kind(tmp_path: Path) -> None:
    small, large = TrainConfig(image_size=64), TrainConfig(image_size=224)
    remember_rate(tmp_path / "runs", "train", of_classifier(small, "cpu"), 400.0)
    remember_rate(tmp_path / "runs", "train", of_classifier(large, "cpu"), 30.0)
    remember_rate(tmp_path / "runs", "train", of_classifier(small, "cpu"), 500.0)
    assert measured_rate(tmp_path / "runs", "train", of_classifier(small, "cpu")) == 500.0
    assert measured_rate(tmp_path / "runs", "train", of_classifier(large, "cpu")) == 30.0
    assert measured_rate(tmp_path / "runs", "train", of_classifier(small, "cuda")) is None
    assert measured_rate(tmp_path / "runs", "generate", of_generator(GeneratorConfig(), "cpu")) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"train": 5}', '{"train": {"x": "fast"}}', '{"train": {"x": null}}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / RATES).write_text(text)
    assert measured_rate(tmp_path, "train", "x") is None
    remember_rate(tmp_path, "train", "x", 2.0)
    assert measured_rate(tmp_path, "train", "x") == 2.0
