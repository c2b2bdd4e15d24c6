"""Classifiers of timm's: by name, in a folder, on the Hugging Face hub, and as a state dict, torchvision's too."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from timm.data import ImageNetInfo, create_transform, infer_imagenet_subset
from timm.models import load_state_dict
from torch import Tensor, nn

from genrobust.classifiers.architectures import OWN, PAPER
from genrobust.classifiers.checkpoints import WEIGHTS
from genrobust.classifiers.hub import HUB, fetch_from_hub
from genrobust.classifiers.models import Classifier, move_to
from genrobust.classifiers.opened import Blueprint, OpenClassifier
from genrobust.classifiers.timm_config import TIMM_CONFIG, data_config, read_timm_config
from genrobust.core import GenrobustError, UserError, digest, hash_file, hash_folder

FILES = f"{TIMM_CONFIG} and {WEIGHTS}"
FOLDER = "local-dir:"  # as timm writes it
TENSOR_FILES = (".safetensors", ".pt", ".pth", ".bin", ".tar")
KINDS = (
    f"a checkpoint's folder, a folder that timm saved, a name of timm's, {HUB}NAME, ARCHITECTURE@FILE for a state "
    "dict, or an .onnx file"
)


def is_timm_folder(folder: Path) -> bool:
    """Return whether `folder` is one that timm saved, or a timm model's download from the hub."""
    return (folder / TIMM_CONFIG).is_file()


def open_timm_name(name: str, names: Sequence[str] | None) -> OpenClassifier:
    """Open the pretrained model that timm calls `name`.

    Raises:
        UserError: timm has no weights of this name, or the names of its classes are unknown.
    """
    if not timm.is_model_pretrained(name):
        known = timm.list_models(pretrained=True)
        near = difflib.get_close_matches(name, known, n=3) or [n for n in known if n.startswith(name.split(".")[0])][:3]
        hint = f"did you mean {' or '.join(near)}?" if near else f"a classifier is {KINDS}"
        raise UserError(
            f"no classifier {name!r}: there is no such folder, and timm has no weights of this name; {hint}"
        )
    settings = timm.get_pretrained_cfg(name)
    assert settings is not None  # it has weights
    config, hint = settings.to_dict(), f" Without a network, give the folder of a download: its {FILES} from the hub"
    return _open_timm(name, config, digest(["timm", config], 64), partial(_pretrained, name, hint), names)


def open_timm_folder(folder: Path, spec: str, names: Sequence[str] | None) -> OpenClassifier:
    """Open the model that timm saved in `folder`.

    Raises:
        UserError: Its configuration or its weights are missing, or the names of its classes are unknown.
    """
    config = read_timm_config(folder, spec)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{spec} holds no {WEIGHTS}: save the model's weights as safetensors, which runs no code")
    weights = hash_folder(folder, (TIMM_CONFIG, WEIGHTS))  # a hub's folder may also hold what others fetched
    return _open_timm(spec, config, weights, partial(_pretrained, f"{FOLDER}{folder}"), names)


def open_hub_model(spec: str, names: Sequence[str] | None) -> OpenClassifier:
    """Open the timm model ``hf-hub:NAME`` or ``hf-hub:NAME@REVISION``; what is in the hub's cache is not fetched again.

    Raises:
        UserError: A name that cannot be one.
        GenrobustError: The model cannot be fetched.
    """
    return open_timm_folder(fetch_from_hub(spec, (TIMM_CONFIG, WEIGHTS), FILES), spec, names)


def open_state_dict(architecture: str, file: Path, spec: str, names: Sequence[str] | None) -> OpenClassifier:
    """Open a state dict of timm's or torchvision's network called `architecture`; only tensors are read.

    Raises:
        UserError: The file is no state dict, or does not fit the network.
    """
    tensors = _read_tensors(file)
    classes = class_ids(spec, len(names) if names else 1000, None, names)
    failures = []
    for make in (_timm_network, _torchvision_network):
        try:
            made = make(architecture, dict(tensors), len(classes))
        except (RuntimeError, ValueError, KeyError, AttributeError) as error:  # keys or shapes that do not fit
            failures.append(_one_line(error))
            continue
        if made is not None:
            network, config = made
            config = {**config, "num_classes": len(classes), "label_names": list(classes)}
            weights = digest([architecture, hash_file(file)], 64)
            return _open_timm(spec, config, weights, network.eval, names)
    if failures:
        given = "that --labels names" if names else "of ImageNet"
        others = "; --labels FILE names others" if names is None else "; for others, save it as a folder with timm"
        raise UserError(
            f"{file} does not fit {architecture} with the {len(classes)} classes {given}{'' if names else others}: "
            f"{'; '.join(dict.fromkeys(failures))}"
        )
    known = [*PAPER, *timm.list_models(), *torchvision.models.list_models()]
    near = difflib.get_close_matches(architecture, dict.fromkeys(known), n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UserError(f"neither timm nor torchvision knows an architecture {architecture!r}{hint}")


def prepare_as_timm(data: Mapping[str, Any]) -> tuple[Callable[[Image.Image], np.ndarray], str]:
    """Return how timm prepares an image by the `data` config that it resolves: to uint8 [H, W, 3], and in words."""
    transform = create_transform(**data, is_training=False, normalize=False)  # to uint8 [3, H, W]

    def prepare(image: Image.Image) -> np.ndarray:
        pixels: Tensor = transform(image)
        return pixels.permute(1, 2, 0).numpy()

    resized = {"squash": "squashed", "border": "longer side resized"}.get(data["crop_mode"], "shorter side resized")
    words = f"{data['input_size'][-1]} px, as timm validates: {resized} ({data['interpolation']}), "
    return prepare, f"{words}{data['crop_mode']} crop of {data['crop_pct']:g}; no flip; float32"


def class_ids(spec: str, count: int, own: Sequence[str] | None, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return `own` where there are any, else the WordNet ids of the ImageNet subset with `count` classes.

    Where neither is known and the user gave `names`, numbers stand in for them; with `names` of no class, whose caller
    wants the weights alone, there are none.

    Raises:
        UserError: Neither is known, and `names` is None.
    """
    subset = infer_imagenet_subset({"num_classes": count})
    if own:
        return tuple(own)
    if subset is not None:
        return tuple(ImageNetInfo(subset).label_names())
    if names is not None:
        return tuple(map(str, range(count))) if names else ()
    raise UserError(
        f"{spec} has {count} classes of unknown names: list them in a text file, a class a line in the order of the "
        "logits, and give it with --labels FILE; or save it for timm with its label_names"
    )


def _open_timm(
    spec: str, config: Mapping[str, Any], weights: str, make: Callable[[], nn.Module], names: Sequence[str] | None
) -> OpenClassifier:
    """The network that `make` makes, with images prepared as timm's own validation prepares them by `config`."""
    data = data_config(spec, config, test_size=True)
    channels, height, width = data["input_size"]
    if (channels, height) != (3, width):
        raise UserError(f"{spec} takes images of {channels} x {height} x {width}: genrobust has 3 x N x N for it")
    own = config.get("label_names")
    count = int(config.get("num_classes") or 0)
    if own and len(own) != count:
        raise UserError(f"{spec}: its {TIMM_CONFIG} has {len(own)} label_names, and the model {count} logits")
    prepare, words = prepare_as_timm(data)

    def load(device: torch.device) -> nn.Module:
        return move_to(Classifier(make(), data["mean"], data["std"]), device).eval()

    size = data_config(spec, config)["input_size"][-1]  # not that of tests: the one that it trained at
    blueprint = None
    if architecture := config.get("architecture"):
        kwargs = {key: value for key, value in config.get("model_args", {}).items() if key != "num_classes"}
        how = data["interpolation"], data["crop_mode"]
        blueprint = Blueprint(architecture.partition(".")[0], kwargs, size, *how)
    classes = class_ids(spec, count, own, names)
    return OpenClassifier(spec, classes, weights, prepare, words, load, blueprint=blueprint)


def _pretrained(source: str, hint: str = "") -> nn.Module:
    try:
        return timm.create_model(source, pretrained=True)
    except Exception as error:  # its arguments may be a stranger's
        raise GenrobustError(f"cannot load the weights of {source}: {_one_line(error)}{hint}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__


def _read_tensors(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise UserError(f"no file {file}")
    try:
        tensors = load_state_dict(str(file), weights_only=True)
    except Exception as error:  # of safetensors, torch and pickle, and of timm where the file holds no mapping
        raise UserError(f"{file} is no plain state dict, and nothing else is unpickled: {_one_line(error)}") from error
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UserError(f"{file} is no state dict: a mapping from names to tensors")
    return tensors


Made = tuple[nn.Module, dict[str, Any]] | None  # a network and timm's configuration of it; None for an unknown name


def _timm_network(name: str, tensors: dict[str, Tensor], classes: int) -> Made:
    """timm's network, whose own filter also reads the names that other libraries give to its tensors."""
    name = PAPER.get(name, name)
    if not timm.is_model(name) or name in OWN:  # those are torchvision's
        return None
    given = {"state_dict": tensors, "num_classes": classes, "label_offset": 0, "custom_load": False, "source": ""}
    network = timm.create_model(name, pretrained=True, num_classes=classes, pretrained_cfg_overlay=given)
    settings = timm.get_pretrained_cfg(name)
    return network, {**(settings.to_dict() if settings else {}), "architecture": name}


def _torchvision_network(name: str, tensors: dict[str, Tensor], classes: int) -> Made:
    if name not in torchvision.models.list_models(torchvision.models):
        return None
    network = torchvision.models.get_model(name, weights=None, num_classes=classes)
    network.load_state_dict(tensors)
    made = next(iter(torchvision.models.get_model_weights(name))).transforms()  # as the first published weights had it
    (size,), (side,) = made.crop_size, made.resize_size
    shape = {"input_size": (3, size, size), "crop_pct": size / side, "interpolation": made.interpolation.value}
    return network, {**shape, "mean": tuple(made.mean), "std": tuple(made.std)}
