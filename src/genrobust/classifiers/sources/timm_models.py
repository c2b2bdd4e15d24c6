"""Open timm models by name, from a folder or from the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.data import ImageNetInfo, create_transform, infer_imagenet_subset
from torch import Tensor, nn

from genrobust.classifiers.networks.checkpoint_info import WEIGHTS
from genrobust.classifiers.networks.classifier_network import Classifier, move_to
from genrobust.classifiers.opened_classifier import Blueprint, OpenClassifier
from genrobust.classifiers.sources.model_folders import HUB, PACKAGED, TIMM_CONFIG, offline_advice
from genrobust.classifiers.sources.tensor_names import describe_misfit
from genrobust.classifiers.sources.timm_config import data_config, read_timm_config
from genrobust.core import GenrobustError, UserError, did_you_mean, digest, one_line
from genrobust.store import download, hash_folder

KINDS = (
    f"a checkpoint's folder, a folder that timm saved, a name of timm's, {PACKAGED}NAME, {HUB}NAME, ARCHITECTURE@FILE "
    "for a state dict, or an .onnx file"
)


def open_timm(name: str, names: Sequence[str] | None) -> OpenClassifier:
    """Open the pretrained timm model `name`, such as ``resnet50.a1_in1k``.

    `names` are as for `class_ids`, in all functions here that open a model.
    """
    if not timm.is_model_pretrained(name):
        hint = did_you_mean(name, timm.list_models(pretrained=True), f"a classifier is {KINDS}")
        raise UserError(
            f"no classifier {name!r}: there is no such folder, and timm has no weights of this name; {hint}"
        )
    settings = timm.get_pretrained_cfg(name)
    # It has weights.
    assert settings is not None
    config = settings.to_dict()
    return open_with_config(name, config, digest(["timm", config], 64), partial(_fetch_named, name, config), names)


def open_timm_folder(folder: Path, spec: str, names: Sequence[str] | None) -> OpenClassifier:
    """Open the model that timm saved in `folder`."""
    config = read_timm_config(folder, spec)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{spec} holds no {WEIGHTS}: save the model's weights as safetensors, which runs no code")
    # A hub's folder may also hold other files.
    identity = hash_folder(folder, (TIMM_CONFIG, WEIGHTS))
    return open_with_config(spec, config, identity, partial(_load_folder, folder), names)


def open_with_config(
    spec: str,
    config: Mapping[str, Any],
    weights_hash: str,
    make_network: Callable[[], nn.Module],
    names: Sequence[str] | None,
) -> OpenClassifier:
    """Open the network that `make_network` returns, whose images are prepared as timm validates with its `config`."""
    data = data_config(spec, config, test_size=True)
    channels, height, width = data["input_size"]
    if (channels, height) != (3, width):
        raise UserError(f"{spec} takes images of {channels} x {height} x {width}: genrobust supports only 3 x N x N")
    label_names = config.get("label_names")
    count = int(config.get("num_classes") or 0)
    if not count and (label_names or names != ()):
        raise UserError(f"{spec} has no num_classes: it has no last layer, or its {TIMM_CONFIG} lacks the key")
    if label_names and len(label_names) != count:
        raise UserError(f"{spec}: its {TIMM_CONFIG} has {len(label_names)} label_names and num_classes {count}")
    prepare, description = prepare_as_timm(data)

    def load(device: torch.device) -> nn.Module:
        return move_to(Classifier(make_network(), data["mean"], data["std"]), device).eval()

    training_size = data_config(spec, config)["input_size"][-1]
    kwargs = {key: value for key, value in config.get("model_args", {}).items() if key != "num_classes"}
    architecture = config["architecture"].partition(".")[0]
    return OpenClassifier(
        name=spec,
        classes=class_ids(spec, count, label_names, names),
        weights_hash=weights_hash,
        prepare=prepare,
        preparation=description,
        load=load,
        blueprint=Blueprint(architecture, kwargs, training_size, data["interpolation"]),
        descriptions=config.get("label_descriptions") or {},
    )


def prepare_as_timm(data: Mapping[str, Any]) -> tuple[Callable[[Image.Image], np.ndarray], str]:
    """Return a function that prepares an image as timm does, to uint8 [H, W, 3], and a description of it.

    `data` is what `data_config` returns.
    """
    # To uint8 [3, H, W].
    transform = create_transform(**data, is_training=False, normalize=False)

    def prepare(image: Image.Image) -> np.ndarray:
        pixels: Tensor = transform(image)
        return pixels.permute(1, 2, 0).numpy()

    resized = {"squash": "squashed", "border": "longer side resized"}.get(data["crop_mode"], "shorter side resized")
    description = f"{data['input_size'][-1]} px, as timm validates: {resized} ({data['interpolation']}), "
    return prepare, f"{description}{data['crop_mode']} crop of {data['crop_pct']:g}; no flip; float32"


def class_ids(spec: str, count: int, label_names: Sequence[str] | None, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the ids of the `count` classes of the classifier `spec`.

    They are its `label_names`, or else `names`, the class names that the user gave, or else the WordNet ids of the
    ImageNet subset of this size. If all are unknown:

    - `names` of another count: placeholders (0 to `count` - 1), which `open_classifier` refuses
    - empty `names`: no ids, since only the weights are used
    - None: an error
    """
    if label_names:
        return tuple(label_names)
    if names and len(names) == count:
        return tuple(names)
    subset = infer_imagenet_subset({"num_classes": count})
    if subset is not None:
        return tuple(ImageNetInfo(subset).label_names())
    if names is not None:
        return tuple(map(str, range(count))) if names else ()
    raise UserError(
        f"{spec} has {count} classes of unknown names: list them in a text file, a class a line in the order of the "
        "logits, and give it with --labels FILE; or save it for timm with its label_names"
    )


def _fetch_named(name: str, config: Mapping[str, Any]) -> nn.Module:
    """Load the weights that timm calls `name`, from the cache of the hub or from the hub."""
    hub_id = config.get("hf_hub_id")
    if not hub_id or config.get("hf_hub_filename"):
        return _create(name)
    # timm itself would try ten times within a minute to reach the hub, even if its cache holds the weights.
    folder = download(name, hub_id, [WEIGHTS], offline_advice(hub_id))
    if not (folder / WEIGHTS).is_file():
        return _create(name)
    return _create(name, pretrained_cfg_overlay={"file": str(folder / WEIGHTS)})


def _load_folder(folder: Path) -> nn.Module:
    source = f"local-dir:{folder}"
    try:
        return timm.create_model(source, pretrained=True)
    except Exception as error:
        # timm may raise anything for the arguments in a foreign configuration.
        reason = one_line(error)
        if "loading state_dict" in reason:
            wanted = timm.create_model(source, pretrained=False).state_dict()
            reason = describe_misfit(load_file(folder / WEIGHTS), wanted)
        raise GenrobustError(f"cannot load the weights in {folder}: {reason}") from error


def _create(name: str, **arguments: Any) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=True, **arguments)
    except Exception as error:
        raise GenrobustError(f"cannot load the weights of {name}: {one_line(error)}") from error
