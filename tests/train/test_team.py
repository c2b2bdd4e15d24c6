"""Processes that train one classifier together: what one learns, bit for bit up to rounding."""

import pytest
import torch
from kill_and_resume import Call
from refusals import refused
from safetensors.torch import load_file

from genrobust.classifiers import read_checkpoint_info
from genrobust.train import team_of

# no batch norm, nothing drawn at random, and no optimizer that makes much of rounding
EXACT = {"architecture": "test_vit", "augmentation": "none", "optimizer": "sgd", "batch_size": 12}


@pytest.mark.parametrize("method", [None, pytest.param("lp-ft", marks=pytest.mark.thorough)])
def test_two_learn_what_one_does(start, timm_folders, tmp_path, method):
    changes = {**EXACT, "learning_rate": 0.05}
    if method is not None:
        changes |= {"init": str(timm_folders["vit"]), "method": method, "learning_rate": 0.01, "steps": 9}
    folders = [tmp_path / "one", tmp_path / "two"]
    for workers, out in enumerate(folders, 1):
        arguments = {"out": str(out), "workers": workers, "changes": changes}
        start.to_end(Call("train/small_job.py", "run", arguments))
    one, two = (load_file(folder / "model.safetensors") for folder in folders)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=1e-4)
    histories = [read_checkpoint_info(folder).training["history"] for folder in folders]
    assert [entry["loss"] for entry in histories[0]] == pytest.approx([entry["loss"] for entry in histories[1]], 1e-4)
    assert [entry["val_top1"] for entry in histories[0]] == [entry["val_top1"] for entry in histories[1]]


def test_nobody_trains_alone_what_is_of_many():
    with refused("train.workers"):
        team_of(2)
