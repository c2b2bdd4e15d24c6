"""Open the image tower of a CLIP as a timm network, with a last layer from its text tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPVisionConfig

from genrobust.classifiers.networks.classifier_network import create_classifier, move_to
from genrobust.classifiers.networks.last_layers import COSINE
from genrobust.classifiers.opened_classifier import SINGLE_CROP, Blueprint, OpenClassifier, preparation
from genrobust.classifiers.sources.clip import embed_ensembles, load_clip, read_preparation
from genrobust.classifiers.sources.model_folders import hash_clip
from genrobust.core import digest, reading

# timm's names of OpenAI's and open_clip's towers, by width, layers and heads.
_SIZES = {(768, 12, 12): "base", (1024, 24, 16): "large", (1280, 32, 16): "huge"}
# Any timm ViT with CLIP's pre-norm. Arguments override its sizes.
_BASE = "vit_base_patch32_clip_{}224"
_BASE_ARGS = {"patch_size": 32, "embed_dim": 768, "depth": 12, "num_heads": 12, "mlp_ratio": 4.0}
_ACTS = {"gelu": "", "quick_gelu": "quickgelu_"}
# timm's names for the parts of transformers' tower.
_NAMES = {
    "pre_layrnorm": "norm_pre",
    "post_layernorm": "norm",
    "self_attn.out_proj": "attn.proj",
    "layer_norm": "norm",
    "encoder.layers": "blocks",
}


def open_tower(folder: Path, spec: str, classes: Sequence[str], texts: Sequence[Sequence[str]]) -> OpenClassifier:
    """Open the image tower of the CLIP in `folder`, which the user calls `spec`, as a zero-shot classifier.

    Each class has one or more texts.
    """
    *_, interpolation = read_preparation(folder)
    # transformers raises errors of any type for a foreign configuration.
    with reading(f"the CLIP {spec}", Exception):
        config: Any = CLIPConfig.from_pretrained(folder, local_files_only=True)
        architecture, kwargs = timm_tower(config.vision_config)
        size, width = int(config.vision_config.image_size), config.projection_dim
    blueprint = Blueprint(architecture, {**kwargs, COSINE: width}, size, interpolation)
    return OpenClassifier(
        name=spec,
        classes=tuple(classes),
        weights_hash=digest([hash_clip(folder), texts], 64),
        load=partial(_load_tower, folder, spec, blueprint, texts),
        blueprint=blueprint,
        **preparation(SINGLE_CROP, size, interpolation),
    )


def _load_tower(
    folder: Path, spec: str, blueprint: Blueprint, texts: Sequence[Sequence[str]], device: torch.device
) -> nn.Module:
    clip = load_clip(folder, device)
    with reading(f"the CLIP {spec}", Exception):
        model = create_classifier(blueprint.architecture, len(texts), blueprint.image_size, blueprint.model_kwargs)
        tensors = _to_timm(clip.model.vision_model.state_dict())
        tensors["head.projection.weight"] = clip.model.visual_projection.weight
        tensors["head.classes.weight"] = clip.logit_scale * torch.from_numpy(embed_ensembles(clip, texts))
        tensors["head.classes.bias"] = torch.zeros(len(texts))
        model.network.load_state_dict(tensors)
    model.mean[:], model.std[:] = clip.mean[None], clip.std[None]
    return move_to(model, device).eval()


def timm_tower(vision: CLIPVisionConfig) -> tuple[str, dict[str, Any]]:
    """Return timm's name for the tower, and the arguments that make it."""
    if vision.hidden_act not in _ACTS or vision.layer_norm_eps != 1e-5 or vision.num_channels != 3:
        raise ValueError(
            f"its image tower has {vision.hidden_act}, layer norms of {vision.layer_norm_eps:g} and "
            f"{vision.num_channels} channels: genrobust trains towers of gelu or quick_gelu, 1e-5 and 3"
        )
    act = _ACTS[vision.hidden_act]
    ratio = vision.intermediate_size / vision.hidden_size
    size = (vision.hidden_size, vision.num_hidden_layers, vision.num_attention_heads)
    name = f"vit_{_SIZES.get(size)}_patch{vision.patch_size}_clip_{act}{vision.image_size}"
    if ratio == 4 and timm.is_model(name):
        return name, {}
    arguments = {"patch_size": vision.patch_size, "mlp_ratio": ratio}
    arguments |= dict(zip(("embed_dim", "depth", "num_heads"), size, strict=True))
    return _BASE.format(act), {key: value for key, value in arguments.items() if value != _BASE_ARGS[key]}


def _to_timm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of transformers' image tower under the names, and in the shapes, of timm's."""
    converted = {
        "cls_token": weights["embeddings.class_embedding"][None, None],
        "pos_embed": weights["embeddings.position_embedding.weight"][None],
        "patch_embed.proj.weight": weights["embeddings.patch_embedding.weight"],
    }
    for key, value in weights.items():
        name = key
        for old, new in _NAMES.items():
            name = name.replace(old, new)
        if ".q_proj." in key:
            parts = [weights[key.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"]
            converted[name.replace("self_attn.q_proj", "attn.qkv")] = torch.cat(parts)
        elif not key.startswith("embeddings.") and ".k_proj." not in key and ".v_proj." not in key:
            converted[name] = value
    return converted
