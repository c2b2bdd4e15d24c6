"""Open state dicts of timm's networks: files of weights, with or without a configuration next to them."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import timm
from timm.models import load_state_dict
from torch import Tensor, nn

from genrobust.classifiers.networks.architectures import OWN_NETWORKS, make_network, timm_name
from genrobust.classifiers.opened_classifier import OpenClassifier
from genrobust.classifiers.sources.model_folders import BY_ORDER, TIMM_CONFIG
from genrobust.classifiers.sources.tensor_names import describe_misfit, rename_in_order
from genrobust.classifiers.sources.timm_config import data_config, read_timm_config
from genrobust.classifiers.sources.timm_models import class_ids, open_with_config
from genrobust.core import UserError, digest, one_line, parse_json, reading
from genrobust.store import hash_file

log = logging.getLogger(__name__)

IMAGENET = 1000  # classes
SAFETENSORS = ".safetensors"
TENSOR_FILES = (SAFETENSORS, ".pt", ".pth", ".bin", ".tar")


def open_state_dict(spec: str, names: Sequence[str] | None) -> OpenClassifier:
    """Open the network ``ARCHITECTURE@FILE`` or ``by-order:ARCHITECTURE@FILE``. `names` are as for `class_ids`.

    Only tensors are read. timm also converts the state dicts of other libraries, such as torchvision's of ResNets. With
    ``by-order:``, tensors may have any names, if their order and shapes are the same as in timm's network.
    """
    architecture, _, file_name = spec.removeprefix(BY_ORDER).partition("@")
    name, file = timm_name(architecture), Path(file_name)
    tensors = read_tensors(file)
    if spec.startswith(BY_ORDER):
        tensors = _rename(tensors, name, file)
    config = _read_config_beside(file, name)
    is_assumed = config is None
    config = {**_timm_settings(name), **(config or {}), "architecture": name}
    count = _count_classes(name, tensors) or (len(names) if names else IMAGENET)
    classes = class_ids(spec, count, config.get("label_names"), names)
    network = _load(file, name, tensors, count)
    config |= {"num_classes": count, "label_names": list(classes)}
    prepared = data_config(spec, config, test_size=True)
    if is_assumed:
        _tell_assumption(spec, tuple(prepared["mean"]), tuple(prepared["std"]))
    identity = digest([architecture, str(prepared), hash_file(file)], 64)
    return open_with_config(spec, config, identity, network.eval, names)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read a state dict. Only tensors are unpickled."""
    if not file.is_file():
        raise UserError(f"no file {file}")
    try:
        tensors = load_state_dict(str(file), weights_only=True)
    except Exception as error:
        # safetensors, torch, pickle and timm raise errors of many types.
        raise UserError(f"{file} is no plain state dict, and nothing else is unpickled: {one_line(error)}") from error
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UserError(f"{file} is no state dict: a mapping from names to tensors")
    return tensors


def load_tensors(name: str, tensors: Mapping[str, Tensor], count: int) -> nn.Module:
    """Load `tensors` into the network that timm calls `name`, with `count` classes."""
    if name in OWN_NETWORKS:
        network = make_network(name, count)
        network.load_state_dict(tensors)
        return network
    overlay = {
        "state_dict": dict(tensors),
        "num_classes": count,
        "label_offset": 0,
        "custom_load": False,
        "source": "",
    }
    return timm.create_model(name, pretrained=True, num_classes=count, pretrained_cfg_overlay=overlay)


def _load(file: Path, name: str, tensors: Mapping[str, Tensor], count: int) -> nn.Module:
    try:
        return load_tensors(name, tensors, count)
    except (RuntimeError, ValueError, KeyError, AttributeError) as error:
        misfit = describe_misfit(tensors, make_network(name, count).state_dict())
        advice = ""
        with suppress(UserError):
            _rename(tensors, name, file)
            advice = f"\nOrder and shapes fit: {BY_ORDER}{name}@{file} loads the tensors in their order"
        raise UserError(f"{file} does not fit {name}: {misfit}{advice}") from error


def _rename(tensors: Mapping[str, Tensor], name: str, file: Path) -> dict[str, Tensor]:
    """Rename tensors in their order as in timm's network `name`, which gets as many classes as the last tensor has."""
    if file.suffix == SAFETENSORS:
        raise UserError(f"{BY_ORDER} {file} keeps no order of its tensors: give a .pt or .pth file")
    *_, last = tensors.values()
    count = last.shape[0] if last.ndim else IMAGENET
    try:
        return rename_in_order(tensors, make_network(name, count).state_dict())
    except ValueError as error:
        raise UserError(f"{file} does not fit {name}: {error}") from error


def _timm_settings(name: str) -> dict[str, Any]:
    """Return the configuration of timm's own weights for the network `name`; empty if timm has none."""
    settings = None if name in OWN_NETWORKS else timm.get_pretrained_cfg(name)
    return settings.to_dict() if settings else {}


def _count_classes(name: str, tensors: Mapping[str, Tensor]) -> int | None:
    """Return the number of rows of the last layer in `tensors`; None if it has another name than in timm's network."""
    if name in OWN_NETWORKS:
        settings = OWN_NETWORKS[name].pretrained_cfg
    else:
        settings = _timm_settings(name)
    head = settings.get("classifier")
    weight = tensors.get(f"{head}.weight")
    return None if weight is None else len(weight)


def _read_config_beside(file: Path, name: str) -> dict[str, Any] | None:
    """Read timm's configuration in the folder of `file`; None if there is none."""
    path = file.parent / TIMM_CONFIG
    if not path.is_file():
        return None
    with reading(path, ValueError):
        raw = parse_json(path.read_bytes())
    # Other libraries write files of this name, too.
    if not isinstance(raw, dict) or "pretrained_cfg" not in raw:
        return None
    config = read_timm_config(file.parent, str(file.parent))
    if config["architecture"] != name:
        raise UserError(f"{path} describes {config['architecture']}, but {file} was named as {name}")
    return config


@cache
def _tell_assumption(spec: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Warn once in a process that the preparation of images is a guess."""
    # Worker processes open the same file again.
    if multiprocessing.parent_process() is not None:
        return
    log.warning(
        f"{spec}: Assuming mean {mean} and std {std}. If the network was trained with others, put a {TIMM_CONFIG} next "
        "to the weights."
    )
