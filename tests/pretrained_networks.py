"""Tiny pretrained networks of random weights: CLIPs in both formats, and timm's networks in folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

VIT = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32}


@pytest.fixture(scope="session")
def open_clip_folder(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CLIP of `clip_folder` as open_clip saves it: other names, packed attention, transposed projections."""
    folder = tmp_path_factory.mktemp("open_clip")
    towers = {"width": 32, "layers": 2, "mlp_ratio": 2.0}
    model = {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "head_width": 16, **towers},
        "text_cfg": {"context_length": 24, "vocab_size": 1043, "heads": 2, **towers},
    }
    config = {"model_cfg": model, "preprocess_cfg": {"interpolation": "bicubic", "resize_mode": "shortest"}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(clip_folder / name, folder / name)
    save_file(as_open_clip(load_file(clip_folder / "model.safetensors")), folder / "open_clip_model.safetensors")
    return folder


def as_open_clip(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of transformers' CLIP as open_clip has them."""
    names = {
        "embeddings.patch_embedding": "conv1",
        "embeddings.class_embedding": "class_embedding",
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.token_embedding": "token_embedding",
        "pre_layrnorm": "ln_pre",
        "post_layernorm": "ln_post",
        "final_layer_norm": "ln_final",
        "encoder.layers": "transformer.resblocks",
        "layer_norm": "ln_",
        "self_attn": "attn",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    found = {}
    for key, tensor in tensors.items():
        name = key.removeprefix("text_model.").replace("vision_model.", "visual.")
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        if key in ("visual_projection.weight", "text_projection.weight"):
            found["visual.proj" if key[0] == "v" else "text_projection"] = tensor.T.contiguous()
        elif "q_proj" in name:
            packed = torch.cat([tensors[key.replace("q_proj", f"{part}_proj")] for part in "qkv"])
            found[name.replace("q_proj.", "in_proj_")] = packed
        elif "k_proj" not in name and "v_proj" not in name:
            found[name] = tensor
    return found


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
