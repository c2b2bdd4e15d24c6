"""Processes that train one classifier together: what one learns, and the same bits when they die and go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from genrobust.classifiers.training_state import STATE
from genrobust.core.errors import UserError
from genrobust.train.team import team_of

# no batch norm, nothing drawn at random, and no optimizer that makes much of rounding
EXACT = {"architecture": "test_vit", "augmentation": "none", "precision": "float32", "optimizer": "sgd"}
EXACT |= {"learning_rate": 0.05, "batch_size": 12}
ALL = {
    "batch_size": 18,
    "mixup": 0.4,
    "cutmix": 1.0,
    "random_erasing": 0.5,
    "split_batchnorm": True,
    "precision": "float16",
}


def train(*jobs: tuple[Path, int, int, dict[str, Any]]) -> None:
    """Each into a folder, by so many processes, that die at a step; see team_once.py."""
    listed = [(str(folder), *job) for folder, *job in jobs]
    script = str(Path(__file__).parent / "team_once.py")
    subprocess.run([sys.executable, script, json.dumps(listed)], check=True, capture_output=True)


def test_two_learn_what_one_does_and_three_that_die_what_three_do(tmp_path: Path) -> None:
    """Of three, whose sums depend on their order. A flag of DDP's keeps that order when they begin anew."""
    one, two, whole, parts = (tmp_path / name for name in ("one", "two", "whole", "parts"))
    train((one, 1, -1, EXACT), (two, 2, -1, EXACT), (whole, 3, -1, ALL), (parts, 3, 7, ALL))
    first, second = (load_file(folder / "model.safetensors") for folder in (one, two))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=1e-6, rtol=1e-5)
    histories = [json.loads((f / "checkpoint.json").read_text())["training"]["history"] for f in (one, two)]
    assert [entry["loss"] for entry in histories[0]] == pytest.approx([entry["loss"] for entry in histories[1]], 1e-5)
    assert [entry["val_top1"] for entry in histories[0]] == [entry["val_top1"] for entry in histories[1]]

    assert sorted(path.name for path in parts.iterdir()) == [".lock", STATE], "they died after a state was saved"
    train((parts, 3, -1, ALL))
    for name in ("model.safetensors", "checkpoint.json"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_nobody_trains_alone_what_is_of_many() -> None:
    with pytest.raises(UserError, match="2 processes train this classifier together, and here is 1: give --executor"):
        team_of(2)
