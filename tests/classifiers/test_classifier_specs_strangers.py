"""Classifiers from strangers: whatever their files hold, they open or end in an error that names them."""

from __future__ import annotations

import json
import math
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from onnx_models import write_onnx
from PIL import Image
from safetensors.torch import load_file, save_file
from small_dataset import genrobust

from genrobust.classifiers import (
    CheckpointInfo,
    PredictedBy,
    clip_embeddings,
    create_classifier,
    embed_ensembles,
    load_clip,
    open_classifier,
    predict_sets,
    save_checkpoint,
)
from genrobust.classifiers.networks.logits import compute_logits, stack_images
from genrobust.core import ClassLabel, GenrobustError, LabelSpace, UserError
from genrobust.data import MemoryImages

CPU = torch.device("cpu")
ABC = ["a", "b", "c"]


def ask(spec: object, labels: Path | None = None) -> np.ndarray:
    """Open, load and run a classifier, as predict does."""
    opened = open_classifier(str(spec), labels)
    images = stack_images([opened.prepare(Image.new("RGB", (40, 30)))] * 2)
    (logits,) = compute_logits([opened.load(CPU)], images, CPU, opened.flip, [opened.name])
    return logits.numpy()


def refused(spec: object, labels: Path | None = None, named: object = None) -> str:
    with pytest.raises(GenrobustError) as error:
        ask(spec, labels)
    assert str(named or spec) in str(error.value)
    return str(error.value)


def test_a_network_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    about = CheckpointInfo("test_resnet", {"drop_rate": "x"}, ("a", "b", "c"), 32, {})
    save_checkpoint(tmp_path / "c", create_classifier("test_resnet", 3, 32), about)
    assert "cannot be run" in refused(tmp_path / "c")


@pytest.fixture(scope="module")
def timm_weights() -> dict[str, torch.Tensor]:
    return {k: v.contiguous() for k, v in timm.create_model("test_resnet", num_classes=3).state_dict().items()}


@pytest.fixture
def timm_folder(tmp_path: Path, timm_weights: dict[str, torch.Tensor]) -> Callable[..., Path]:
    """Writes a folder as timm saves it; ``key=value`` changes its configuration, ``p__key`` its pretrained_cfg."""

    def write(raw: bytes | None = None, **changes: Any) -> Path:
        facts = {"input_size": [3, 32, 32], "first_conv": "conv1.0", "classifier": "fc", "mean": [0.5] * 3}
        config = {"architecture": "test_resnet", "num_classes": 3, "label_names": ABC, "pretrained_cfg": facts}
        for key, value in changes.items():
            (facts if key.startswith("p__") else config)[key.removeprefix("p__")] = value
        (tmp_path / "timm").mkdir()
        (tmp_path / "timm" / "config.json").write_bytes(raw if raw is not None else json.dumps(config).encode())
        save_file(timm_weights, tmp_path / "timm" / "model.safetensors")
        return tmp_path / "timm"

    return write


CONFIGS: list[dict[str, Any]] = [
    *({"raw": raw} for raw in (b"", b"[]", b"\xff", b"[" * 100_000)),
    *({"architecture": value} for value in (None, "nope", "hf-hub:a/b")),
    *({"num_classes": value} for value in (0, "3", 2)),
    *({"label_names": value} for value in ("abc", {"x": "a"})),
    *({"model_args": value} for value in ({"checkpoint_path": "/etc/passwd"}, {"nope": 1}, {"drop_rate": "x"})),
    *({"p__input_size": size} for size in (5, [1, 32, 32], [3, 32, 64], [3, 0, 0])),
    *({"p__crop_pct": share} for share in (0, float("nan"))),
    *({"p__mean": mean} for mean in ([1], [float("nan")] * 3)),
    *({"p__std": std} for std in ([0, 0, 0], [58.4, 57.1, 57.4])),
    {"p__interpolation": "x"},
    *({"p__num_classes": value, "num_classes": None} for value in ("x", 2)),
    *({"p__label_names": value, "label_names": None} for value in (5, {"x": "a"})),
    *({"num_classes": None, "label_names": value} for value in (ABC, None)),
    {"pretrained_cfg": None},
]


@pytest.mark.parametrize("changes", CONFIGS, ids=lambda changes: str(changes)[:50])
def test_a_timm_folder_is_typed(timm_folder: Callable[..., Path], changes: dict[str, Any]) -> None:
    refused(timm_folder(**changes))


def test_a_timm_folder_with_what_timm_fills_in_opens(timm_folder: Callable[..., Path]) -> None:
    folder = timm_folder(p__crop_pct=None, p__url="http://127.0.0.1:1/x", p__file="/etc/passwd", p__state_dict={"a": 1})
    assert ask(folder).shape == (2, 3)


@pytest.mark.parametrize(
    ("props", "shape"),
    [
        ({"label_names": [1, 2, 3]}, ("n", 3, 16, 16)),
        ({"label_names": ["a"]}, ("n", 3, 16, 16)),
        ({"pretrained_cfg": {"crop_pct": 0}}, ("n", 3, 16, 16)),
        ({"pretrained_cfg": {"input_size": [3, 32, 32]}}, ("n", 3, 16, 16)),
        ({"pretrained_cfg": "["}, ("n", 3, 16, 16)),
        ({}, ("n", 3, 2**31, 2**31)),
        ({}, ("n", 3, -1, -1)),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_onnx_file_is_typed(tmp_path: Path, props: dict[str, Any], shape: tuple[Any, ...]) -> None:
    refused(write_onnx(tmp_path / "o" / "m.onnx", shape, **{"label_names": ABC, **props}))


@pytest.mark.parametrize("at", ["../secret.bin", "{folder}/secret.bin", "sub/../../secret.bin", "link.bin"])
def test_an_onnx_file_reads_nothing_outside_its_folder(tmp_path: Path, at: str) -> None:
    (tmp_path / "secret.bin").write_bytes(struct.pack("<3f", 1, 2, 3))
    path = write_onnx(tmp_path / "o" / "m.onnx", at=at.format(folder=tmp_path), label_names=ABC)
    (tmp_path / "o" / "sub").mkdir()
    (tmp_path / "o" / "link.bin").symlink_to(tmp_path / "secret.bin")
    refused(path)


def test_weights_beside_an_onnx_file_are_part_of_its_identity(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "o" / "m.onnx", at="w.bin", label_names=ABC)
    identities = set()
    for bias in (1.0, 2.0):
        (tmp_path / "o" / "w.bin").write_bytes(struct.pack("<3f", bias, 0, 0))
        assert ask(path)[0, 0] == bias
        identities.add(open_classifier(str(path)).weights_hash)
    assert len(identities) == 2


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "vision_config", 5),
        ("config.json", "vision_config.image_size", "x"),
        ("config.json", "vision_config.hidden_size", 7),
        ("config.json", "text_config.vocab_size", 0),
        ("preprocessor_config.json", "image_mean", [float("nan")] * 3),
        ("preprocessor_config.json", "image_std", [0, 0, 0]),
        ("tokenizer_config.json", "added_tokens_decoder", 5),
    ],
    ids=str,
)
def test_a_clip_of_odd_configuration_is_refused(
    clip_folder: Path, tmp_path: Path, file: str, key: str, value: object
) -> None:
    folder = Path(shutil.copytree(clip_folder, tmp_path / "clip"))
    config = json.loads((folder / file).read_text())
    *parents, last = key.split(".")
    (config[parents[0]] if parents else config)[last] = value
    (folder / file).write_text(json.dumps(config))
    with pytest.raises(UserError, match="clip"):
        load_clip(folder)


@pytest.mark.parametrize("lacking", ["vision_model", "logit_scale"])
def test_a_clip_without_a_tower_is_refused(clip_folder: Path, tmp_path: Path, lacking: str) -> None:
    """transformers alone would draw the missing tensors at random."""
    folder = Path(shutil.copytree(clip_folder, tmp_path / "clip"))
    tensors = {k: v for k, v in load_file(folder / "model.safetensors").items() if not k.startswith(lacking)}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=f"clip: .*missing keys such as {lacking}"):
        load_clip(folder)


@pytest.mark.parametrize(("kind", "value"), [("checkpoint", math.nan), ("timm", -math.inf), ("onnx", math.inf)])
def test_outputs_that_are_no_numbers_are_no_predictions(
    tmp_path: Path, timm_folder: Callable[..., Path], kind: str, value: float
) -> None:
    if kind == "checkpoint":
        model = create_classifier("test_resnet", 3, 16)
        model.state_dict()["network.fc.bias"].fill_(value)
        spec = tmp_path / "c"
        save_checkpoint(spec, model, CheckpointInfo("test_resnet", {}, ("a", "b", "c"), 16, {}))
    elif kind == "timm":
        spec = timm_folder()
        tensors = load_file(spec / "model.safetensors")
        save_file({**tensors, "fc.bias": tensors["fc.bias"].fill_(value)}, spec / "model.safetensors")
    else:
        spec = write_onnx(tmp_path / "o" / "m.onnx", bias=value, label_names=ABC)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "images" / "0.png")
    images = MemoryImages("gray", [np.full((16, 16, 3), 99, np.uint8)], [0], ["a"])
    labels = LabelSpace(tuple(ClassLabel(name, name, name) for name in ABC))
    opened = open_classifier(str(spec))
    with pytest.raises(GenrobustError, match=f"{spec} gives logits"):
        predict_sets(tmp_path / "out", {PredictedBy("m", "m"): opened}, {"gray": images}, labels, 2, "cpu")
    assert not list((tmp_path / "out").glob("*"))
    done = genrobust("predict", spec, tmp_path / "images", "--out", tmp_path / "out.csv")
    assert done.exit_code == 1 and "gives logits" in done.stderr
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("tensor", ["visual_projection", "text_model"])
def test_embeddings_that_are_no_numbers_are_refused(clip_folder: Path, tmp_path: Path, tensor: str) -> None:
    folder = Path(shutil.copytree(clip_folder, tmp_path / "clip"))
    weights = load_file(folder / "model.safetensors")
    next(t for name, t in weights.items() if name.startswith(tensor) and name.endswith("weight")).fill_(math.nan)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    images = MemoryImages("m", [np.zeros((32, 32, 3), np.uint8)], [0], ["a"])
    with pytest.raises(GenrobustError, match="the CLIP clip gives embeddings"):
        clip_embeddings(load_clip(folder), images, 1)
        embed_ensembles(load_clip(folder), [["a cup"]])
