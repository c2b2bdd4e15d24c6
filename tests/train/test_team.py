"""Processes that train one classifier together: what one learns, bit for bit up to rounding."""

import pytest
import torch
from kill_and_resume import Call
from safetensors.torch import load_file

from genrobust.classifiers import read_checkpoint_info
from genrobust.core import UserError
from genrobust.train import team_of

# no batch norm, nothing drawn at random, and no optimizer that makes much of rounding
EXACT = {"architecture": "test_vit", "augmentation": "none", "optimizer": "sgd", "learning_rate": 0.05}


def call(out, workers, **changes):
    return Call("train/small_job.py", "run", {"out": str(out), "workers": workers, "changes": changes})


def test_two_learn_what_one_does(start, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    done = [start(call(out, number, batch_size=12, **EXACT)) for number, out in enumerate((one, two), 1)]
    assert [d.codes for d in done] == [[0], [0]], done[1].said
    first, second = (load_file(folder / "model.safetensors") for folder in (one, two))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=1e-5, rtol=1e-4)
    histories = [read_checkpoint_info(f).training["history"] for f in (one, two)]
    assert [entry["loss"] for entry in histories[0]] == pytest.approx([entry["loss"] for entry in histories[1]], 1e-4)
    assert [entry["val_top1"] for entry in histories[0]] == [entry["val_top1"] for entry in histories[1]]


def test_nobody_trains_alone_what_is_of_many():
    with pytest.raises(UserError, match=r"train\.workers"):
        team_of(2)
