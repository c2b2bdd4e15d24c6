"""Tiny pretrained networks of random weights: timm's networks in folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

VIT = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32}


@pytest.fixture(scope="session")
def timm_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A ViT of three classes and a ResNet of five for 32 px, the latter with bilinear resizing, as timm saves them."""
    root = tmp_path_factory.mktemp("timm")
    return {
        "vit": save_timm(root / "vit", "test_vit", 3, "bicubic", VIT),
        "resnet": save_timm(root / "resnet", "test_resnet", 5, "bilinear", {}),
    }


def save_timm(folder: Path, architecture: str, classes: int, interpolation: str, arguments: dict[str, Any]) -> Path:
    """Save a network of random weights as timm does."""
    torch.manual_seed(classes)
    network = timm.create_model(architecture, num_classes=classes, **arguments)
    folder.mkdir()
    preparation = {"input_size": [3, 32, 32], "interpolation": interpolation, "crop_pct": 1.0}
    config = {
        "architecture": architecture,
        "num_classes": classes,
        "label_names": [f"{folder.name}-{number}" for number in range(classes)],
        "model_args": arguments,
        "pretrained_cfg": {**preparation, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.2]},
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder
