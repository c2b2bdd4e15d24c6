"""Opens timm models by name, from a folder or from the Hugging Face hub, and state dicts of its networks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo, create_transform, infer_imagenet_subset
from timm.models import load_state_dict
from torch import Tensor, nn

from genrobust.classifiers.classifier import Blueprint, OpenClassifier
from genrobust.classifiers.networks.architectures import OWN_NETWORKS, make_network, timm_name
from genrobust.classifiers.networks.checkpoints import WEIGHTS
from genrobust.classifiers.networks.models import Classifier, move_to
from genrobust.classifiers.sources.folders import HUB, TIMM_CONFIG
from genrobust.classifiers.sources.timm_config import data_config, read_timm_config
from genrobust.core import GenrobustError, UserError, did_you_mean, digest, hash_file, hash_folder, one_line

log = logging.getLogger(__name__)

SHOWN = 300  # characters of why weights do not fit: torch lists every key
TENSOR_FILES = (".safetensors", ".pt", ".pth", ".bin", ".tar")
KINDS = (
    f"a checkpoint's folder, a folder that timm saved, a name of timm's, {HUB}NAME, ARCHITECTURE@FILE for a state "
    "dict, or an .onnx file"
)


def open_timm(name: str, names: Sequence[str] | None) -> OpenClassifier:
    """Open the pretrained timm model `name`, such as ``resnet50.a1_in1k``.

    `names` are as for `class_ids`, in all functions here that open a model.

    Raises:
        UserError: timm has no such weights.
    """
    if not timm.is_model_pretrained(name):
        hint = did_you_mean(name, timm.list_models(pretrained=True), f"a classifier is {KINDS}")
        raise UserError(
            f"no classifier {name!r}: there is no such folder, and timm has no weights of this name; {hint}"
        )
    settings = timm.get_pretrained_cfg(name)
    assert settings is not None  # it has weights
    config = settings.to_dict()
    download_hint = f" Without a network, give the folder of a download: its {TIMM_CONFIG} and {WEIGHTS} from the hub"
    return _open(name, config, digest(["timm", config], 64), partial(_load_pretrained, name, download_hint), names)


def open_timm_folder(folder: Path, spec: str, names: Sequence[str] | None) -> OpenClassifier:
    """Open the model that timm saved in `folder`.

    Raises:
        UserError: The configuration or the weights are missing, the names of the classes are unknown, or the model
            takes other images than squares of RGB.
    """
    config = read_timm_config(folder, spec)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{spec} holds no {WEIGHTS}: save the model's weights as safetensors, which runs no code")
    weights = hash_folder(folder, (TIMM_CONFIG, WEIGHTS))  # a hub's folder may also hold what others fetched
    return _open(spec, config, weights, partial(_load_pretrained, f"local-dir:{folder}"), names)


def open_state_dict(architecture: str, file: Path, spec: str, names: Sequence[str] | None) -> OpenClassifier:
    """Open the network that timm calls `architecture`, with a state dict; only tensors are read.

    timm also converts the state dicts of other libraries, such as torchvision's of ResNets.

    Raises:
        UserError: The file is no state dict, timm does not know the architecture, or the weights do not fit it.
    """
    name = timm_name(architecture)
    tensors = _read_tensors(file)
    classes = class_ids(spec, len(names) if names else 1000, None, names)
    overlay = {
        "state_dict": tensors,
        "num_classes": len(classes),
        "label_offset": 0,
        "custom_load": False,
        "source": "",
    }
    try:
        if name in OWN_NETWORKS:
            network = make_network(name, len(classes))
            network.load_state_dict(tensors)
        else:
            network = timm.create_model(name, pretrained=True, num_classes=len(classes), pretrained_cfg_overlay=overlay)
    except (RuntimeError, ValueError, KeyError, AttributeError) as error:  # keys or shapes that do not fit
        origin = "that --labels names" if names else "of ImageNet (--labels FILE names others)"
        raise UserError(
            f"{file} does not fit {architecture} with the {len(classes)} classes {origin}: {one_line(error)[:SHOWN]}"
        ) from error
    settings = None if name in OWN_NETWORKS else timm.get_pretrained_cfg(name)
    config = {**(settings.to_dict() if settings else {}), "architecture": name}
    config |= {"num_classes": len(classes), "label_names": list(classes)}
    prepared = data_config(spec, config, test_size=True)
    log.warning(
        f"{spec}: a file of weights does not say how images are prepared for it: they are as for timm's "
        f"{settings.tag if settings else name} (mean {prepared['mean']}, std {prepared['std']}); "
        "if it learned from others, save it for timm, with its own configuration"
    )
    return _open(spec, config, digest([architecture, str(prepared), hash_file(file)], 64), network.eval, names)


def _open(
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
    label_names, count = config.get("label_names"), int(config.get("num_classes") or 0)
    if not count and (label_names or names != ()):
        raise UserError(f"{spec} has no num_classes: it has no last layer, or its {TIMM_CONFIG} lacks the key")
    if label_names and len(label_names) != count:
        raise UserError(f"{spec}: its {TIMM_CONFIG} has {len(label_names)} label_names and num_classes {count}")
    prepare, description = prepare_as_timm(data)

    def load(device: torch.device) -> nn.Module:
        return move_to(Classifier(make_network(), data["mean"], data["std"]), device).eval()

    size = data_config(spec, config)["input_size"][-1]  # the training size, not the test size
    kwargs = {key: value for key, value in config.get("model_args", {}).items() if key != "num_classes"}
    blueprint = Blueprint(config["architecture"].partition(".")[0], kwargs, size, data["interpolation"])
    classes, shown = class_ids(spec, count, label_names, names), config.get("label_descriptions") or {}
    return OpenClassifier(
        spec, classes, weights_hash, prepare, description, load, blueprint=blueprint, descriptions=shown
    )


def prepare_as_timm(data: Mapping[str, Any]) -> tuple[Callable[[Image.Image], np.ndarray], str]:
    """Return a function that prepares an image as timm does, to uint8 [H, W, 3], and a description of it.

    `data` is what `data_config` returns.
    """
    transform = create_transform(**data, is_training=False, normalize=False)  # to uint8 [3, H, W]

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

    Raises:
        UserError: The ids are unknown, and `names` is None.
    """
    subset = infer_imagenet_subset({"num_classes": count})
    if label_names:
        return tuple(label_names)
    if names and len(names) == count:
        return tuple(names)
    if subset is not None:
        return tuple(ImageNetInfo(subset).label_names())
    if names is not None:
        return tuple(map(str, range(count))) if names else ()
    raise UserError(
        f"{spec} has {count} classes of unknown names: list them in a text file, a class a line in the order of the "
        "logits, and give it with --labels FILE; or save it for timm with its label_names"
    )


def _load_pretrained(source: str, hint: str = "") -> nn.Module:
    """Load the timm model `source`; raises GenrobustError that ends in `hint`."""
    try:
        return timm.create_model(source, pretrained=True)
    except Exception as error:  # its arguments may be a stranger's
        raise GenrobustError(f"cannot load the weights of {source}: {one_line(error)}{hint}") from error


def _read_tensors(file: Path) -> dict[str, Tensor]:
    """Read a state dict; raises UserError for anything else."""
    if not file.is_file():
        raise UserError(f"no file {file}")
    try:
        tensors = load_state_dict(str(file), weights_only=True)
    except Exception as error:  # of safetensors, torch and pickle, and of timm where the file holds no mapping
        raise UserError(f"{file} is no plain state dict, and nothing else is unpickled: {one_line(error)}") from error
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UserError(f"{file} is no state dict: a mapping from names to tensors")
    return tensors
