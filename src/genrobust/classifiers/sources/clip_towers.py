"""The image tower of a CLIP as a network of timm's, with the last layer that its text tower gives it, or a new one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import timm
import torch
from torch import nn
from transformers import CLIPVisionConfig

from genrobust.classifiers.classifier import SINGLE_CROP, Blueprint, OpenClassifier, preparation
from genrobust.classifiers.networks.heads import COSINE
from genrobust.classifiers.networks.models import create_classifier, move_to
from genrobust.classifiers.sources.clip import embed_ensembles, load_clip
from genrobust.classifiers.sources.clip_folder import ClipFolder
from genrobust.classifiers.sources.timm_config import data_config
from genrobust.core import digest, reading

# By width, layers and heads: what timm calls OpenAI's and open_clip's towers.
_SIZES = {
    (768, 12, 12): "base",
    (1024, 24, 16): "large",
    (1280, 32, 16): "huge",
}
_BASE = "vit_base_patch32_clip_{}224"  # any timm ViT with CLIP's pre-norm; model_kwargs override the sizes
_BASE_ARGS = {"patch_size": 32, "embed_dim": 768, "depth": 12, "num_heads": 12, "mlp_ratio": 4.0}
_ACTS = {"gelu": "", "quick_gelu": "quickgelu_"}


def open_tower(
    clip: ClipFolder, spec: str, classes: Sequence[str], texts: Callable[[], Sequence[Sequence[str]]]
) -> OpenClassifier:
    """Open the image tower of `clip`, which the user calls `spec`, as a classifier: zero-shot, with a text tower.

    Args:
        texts: Returns one text or more for each class.

    Raises:
        UserError: It cannot be read, or timm has no such tower.
    """
    with reading(f"the CLIP {spec}", Exception):  # its configuration may be a stranger's
        (vision, width), own = clip.vision(), clip.preparation()
        architecture, kwargs = timm_tower(vision)
        size: Any = vision.image_size
    if width is not None:
        kwargs[COSINE] = width
    class_texts = [] if width is None else texts()
    normalization = data_config(spec, {"mean": own["mean"], "std": own["std"]})
    blueprint = Blueprint(architecture, kwargs, int(size), own["interpolation"])
    return OpenClassifier(
        name=spec,
        classes=() if width is None else tuple(classes),
        weights_hash=digest([clip.hash(), class_texts], 64),
        load=partial(_load_tower, clip, spec, blueprint, normalization, class_texts),
        blueprint=blueprint,
        **preparation(SINGLE_CROP, blueprint.image_size, blueprint.interpolation),
    )


def _load_tower(
    clip: ClipFolder,
    spec: str,
    blueprint: Blueprint,
    normalization: Mapping[str, Any],
    class_texts: Sequence[Sequence[str]],
    device: torch.device,
) -> nn.Module:
    size, kwargs = blueprint.image_size, blueprint.model_kwargs
    with reading(f"the CLIP {spec}", Exception):
        model = create_classifier(blueprint.architecture, max(1, len(class_texts)), size, kwargs)
        network: Any = model.network
        tensors, projection = clip.timm_tensors(network)
        state = network.state_dict()
        body = {key: tensors.get(key) for key in state if not key.startswith("head.")}
        if missing := [key for key, value in body.items() if value is None]:
            raise ValueError(f"timm's {blueprint.architecture} has {missing[0]}, and the CLIP has not")
        network.load_state_dict(state | body | ({"head.projection.weight": projection} if COSINE in kwargs else {}))
    model.mean[:], model.std[:] = (torch.tensor(normalization[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    if class_texts:
        loaded, head = load_clip(clip.folder), network.head
        with torch.no_grad():
            head.classes.weight[:] = loaded.logit_scale * torch.from_numpy(embed_ensembles(loaded, class_texts))
            head.classes.bias.zero_()
    return move_to(model, device).eval()


def timm_tower(vision: CLIPVisionConfig) -> tuple[str, dict[str, Any]]:
    """Return timm's name for the tower, and the arguments that make it.

    Raises:
        ValueError: timm has no such tower.
    """
    if vision.hidden_act not in _ACTS or vision.layer_norm_eps != 1e-5 or vision.num_channels != 3:
        raise ValueError(
            f"its image tower has {vision.hidden_act}, layer norms of {vision.layer_norm_eps:g} and "
            f"{vision.num_channels} channels: genrobust trains towers of gelu or quick_gelu, 1e-5 and 3"
        )
    act, size = _ACTS[vision.hidden_act], (vision.hidden_size, vision.num_hidden_layers, vision.num_attention_heads)
    if vision.hidden_size % vision.num_attention_heads:
        raise ValueError(f"its image tower of {vision.hidden_size} has {vision.num_attention_heads} heads")
    ratio = vision.intermediate_size / vision.hidden_size
    # timm computes int(width * mlp_ratio): make sure that it yields intermediate_size
    if int(vision.hidden_size * ratio) != vision.intermediate_size:
        ratio = (vision.intermediate_size + 0.5) / vision.hidden_size
    if size in _SIZES and ratio == 4:
        name = f"vit_{_SIZES[size]}_patch{vision.patch_size}_clip_{act}{vision.image_size}"
        if timm.is_model(name):
            return name, {}
    arguments = {"patch_size": vision.patch_size, "mlp_ratio": ratio}
    arguments |= dict(zip(("embed_dim", "depth", "num_heads"), size, strict=True))
    return _BASE.format(act), {key: value for key, value in arguments.items() if value != _BASE_ARGS[key]}
