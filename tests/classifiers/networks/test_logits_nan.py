"""A network whose outputs are no numbers gets no predictions, whatever it is and whatever is asked of it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from onnx_models import write_onnx
from safetensors.torch import load_file, save_file
from small_dataset import genrobust

from genrobust.classifiers import (
    CheckpointInfo,
    Feed,
    PredictedBy,
    clip_embeddings,
    create_classifier,
    load_checkpoint,
    load_clip,
    logits_in_parts,
    open_classifier,
    predict_sets,
    read_checkpoint_info,
    save_checkpoint,
)
from genrobust.classifiers.sources.clip import embed_texts
from genrobust.core import ClassLabel, GenrobustError, LabelSpace
from genrobust.data import MemoryImages
from genrobust.store import KeptParts

CPU = torch.device("cpu")
LABELS = LabelSpace(tuple(ClassLabel(id, id, id) for id in ("red", "green", "blue")))
IMAGES = MemoryImages("gray", [np.full((16, 16, 3), 99, np.uint8)] * 3, [0, 1, 2], ["a", "b", "c"])


def checkpoint(folder: Path, tensor: str, value: float) -> Path:
    model = create_classifier("test_resnet", 3, 16)
    next(t for name, t in model.state_dict().items() if tensor in name).fill_(value)
    save_checkpoint(folder, model, CheckpointInfo("test_resnet", {}, LABELS.ids, 16, {}))
    return folder


def timm_folder(folder: Path, tensor: str, value: float) -> Path:
    model = timm.create_model("test_resnet", num_classes=3)
    next(t for name, t in model.state_dict().items() if tensor in name).fill_(value)
    save_file(model.state_dict(), folder / "model.safetensors")
    facts = {"input_size": [3, 16, 16], "first_conv": "conv1", "classifier": "fc", "num_classes": 3}
    config = {"architecture": "test_resnet", "num_classes": 3, "label_names": LABELS.ids, "pretrained_cfg": facts}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def onnx_file(folder: Path, tensor: str, value: float) -> Path:
    return write_onnx(folder / "model.onnx", bias=value, label_names=LABELS.ids)


KINDS = [
    (checkpoint, "weight", math.nan),
    (checkpoint, "running_var", math.nan),
    (checkpoint, "fc.bias", math.inf),
    (timm_folder, "weight", math.nan),
    (timm_folder, "fc.bias", -math.inf),
    (onnx_file, "bias", math.nan),
    (onnx_file, "bias", math.inf),
]


@pytest.mark.parametrize(("make", "tensor", "value"), KINDS)
def test_a_classifier_is_named(tmp_path: Path, make: Callable[..., Path], tensor: str, value: float) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "images").mkdir()
    IMAGES.image(0).save(tmp_path / "images" / "a.png")
    spec = str(make(tmp_path / "model", tensor, value))
    opened = open_classifier(spec)
    match = f"{spec} gives logits that are no numbers"
    with pytest.raises(GenrobustError, match=match):
        logits_in_parts(opened, IMAGES, Feed(2, CPU), KeptParts(None))
    with pytest.raises(GenrobustError, match=match):
        predict_sets(tmp_path / "out", {PredictedBy("m", "m"): opened}, {"gray": IMAGES}, LABELS, 2, "cpu")
    assert not list((tmp_path / "out").glob("*"))
    done = genrobust("predict", spec, tmp_path / "images", "--out", tmp_path / "out.csv")
    assert done.exit_code == 1 and "gives logits that are no numbers" in done.stderr
    assert not (tmp_path / "out.csv").exists()
    if make is checkpoint:
        assert load_checkpoint(Path(spec))[1] == read_checkpoint_info(Path(spec))


@pytest.mark.parametrize("tensor", ["visual_projection", "vision_model", "text_projection", "text_model"])
def test_a_clip_is_named(clip_folder: Path, tmp_path: Path, tensor: str) -> None:
    folder = Path(shutil.copytree(clip_folder, tmp_path / "clip"))
    weights = load_file(folder / "model.safetensors")
    next(t for name, t in weights.items() if name.startswith(tensor) and name.endswith("weight")).fill_(math.nan)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    clip = load_clip(folder)
    with pytest.raises(GenrobustError, match="the CLIP clip gives embeddings that are no numbers"):
        if tensor.startswith("vis"):
            clip_embeddings(clip, MemoryImages("m", [np.zeros((32, 32, 3), np.uint8)], [0], ["a"]), 1)
        else:
            embed_texts(clip, ["a cup"])
