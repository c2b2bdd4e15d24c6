"""Networks that normalize their images: create them, save them as checkpoints, and load them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from genrobust.classifiers.networks.architectures import has_fixed_size, make_network
from genrobust.classifiers.networks.checkpoint_info import (
    INITIAL,
    WEIGHTS,
    CheckpointInfo,
    checkpoint_manifest,
    read_checkpoint_info,
)
from genrobust.classifiers.networks.last_layers import COSINE, add_cosine_head
from genrobust.classifiers.training_images import TRAINING_IMAGES, TrainingImages
from genrobust.core import GenrobustError, UserError, one_line, reading
from genrobust.store import Artifact, Manifest, make_folder, replacing

# With these arguments, timm would unpickle a file, download one, or lose the classes.
REFUSED = {"checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "num_classes"}


class Classifier(nn.Module):
    """A timm network behind its own normalization.

    Takes images [B, 3, H, W], uint8 or float in [0, 1]; gives logits [B, K]. `mean` and `std` are buffers, so they
    travel with the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if images.dtype == torch.uint8:
            images = images.float() / 255
        return self.network((images - self.mean) / self.std)

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that the architecture spares from decay, for timm's optimizers."""
        get_names = getattr(self.network, "no_weight_decay", None)
        if callable(get_names):
            return {f"network.{name}" for name in get_names()}
        return set()


def create_classifier(
    architecture: str, num_classes: int, image_size: int, model_kwargs: Mapping[str, Any] | None = None
) -> Classifier:
    """Create a classifier with random weights, which the global torch seed decides.

    `architecture` is a name of timm's, or one of `PAPER_NAMES`. `model_kwargs` are arguments of the network's
    constructor; `COSINE`, which timm does not know, adds a `CosineHead`.
    """
    arguments = dict(model_kwargs or {})
    width = arguments.pop(COSINE, None)
    refused = sorted(arguments.keys() & REFUSED)
    if refused:
        raise UserError(f"model_kwargs: {refused[0]} cannot be set: classifiers start from random weights")
    if has_fixed_size(architecture):
        arguments.setdefault("img_size", image_size)
    try:
        network = make_network(architecture, num_classes, **arguments)
        if width is not None:
            add_cosine_head(network, width, num_classes)
        _require_logits(architecture, num_classes, image_size, json.dumps(arguments, sort_keys=True))
    except GenrobustError:
        raise
    except Exception as error:
        # Networks of timm raise errors of any type for arguments that they do not check.
        if arguments:
            description = f"{architecture} with model_kwargs {arguments}"
        else:
            description = architecture
        reason = one_line(error)
        raise UserError(f"timm cannot make {description} for images of {image_size} px: {reason}") from error
    # torch types every attribute as a module.
    config: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    mean = config.get("mean") or (0.5, 0.5, 0.5)
    std = config.get("std") or (0.5, 0.5, 0.5)
    return Classifier(network, mean, std)


@cache
def _require_logits(architecture: str, num_classes: int, image_size: int, arguments: str) -> None:
    """Raise the error of a network with these arguments, as JSON, for an image, or ValueError without logits."""
    # Tensors on the device "meta" have shapes only, and need no memory.
    with torch.device("meta"), torch.inference_mode():
        try:
            network = make_network(architecture, num_classes, **json.loads(arguments)).eval()
            logits = network(torch.empty(1, 3, image_size, image_size))
        except NotImplementedError:
            # Some operations do not run on this device.
            return
    if not isinstance(logits, Tensor) or logits.shape != (1, num_classes):
        raise ValueError(f"it returns no logits of {num_classes:,} classes")


def move_to(model: Classifier, device: torch.device | str) -> Classifier:
    """Move `model` to `device`, with convolutions in channels_last: faster in bfloat16 and in float32."""
    model.to(device)
    # torch's annotations lack the argument.
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which a network of float32 weights computes in `precision`."""
    # For float32 it is disabled, with a dtype that every device accepts.
    dtype = torch.float16 if precision == "float16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=precision != "float32")


def save_checkpoint(
    folder: Path,
    model: Classifier,
    info: CheckpointInfo,
    initial: Mapping[str, Tensor] | None = None,
    manifest: Manifest | None = None,
    images: TrainingImages | None = None,
) -> None:
    """Write the weights, then the manifest that finishes the checkpoint.

    Args:
        initial: The weights that fine-tuning started from, to keep them.
        manifest: By default, the manifest of the training that was begun there.
        images: The record of the training images.
    """
    make_folder(folder)
    artifact = Artifact(folder)
    save_tensors(folder / WEIGHTS, model.state_dict())
    names = [WEIGHTS]
    if initial:
        save_tensors(folder / INITIAL, initial)
        names.append(INITIAL)
    if images is not None:
        images.write(folder)
        names.append(TRAINING_IMAGES)
        info = replace(info, training={**info.training, "study": images.study})
    if manifest is None:
        if artifact.is_begun:
            manifest = artifact.manifest()
        else:
            manifest = checkpoint_manifest({}, save_checkpoint)
    # Files of the unfinished training, such as its saved state, are no files of the checkpoint.
    artifact.publish(replace(manifest, about=asdict(info), files={}), names)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file that appears whole or not at all."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content: bytes = save(on_cpu, metadata)
    with replacing(path) as file:
        file.write(content)


def load_checkpoint(folder: Path, device: torch.device | str = "cpu") -> tuple[Classifier, CheckpointInfo]:
    """Load the classifier in `folder`, in evaluation mode on `device`, and its description."""
    info = read_checkpoint_info(folder)
    weights = Artifact(folder).path(WEIGHTS)
    try:
        model = create_classifier(info.architecture, len(info.classes), info.image_size, info.model_kwargs)
    except UserError as error:
        raise UserError(f"the network in {folder} cannot be run: {error}") from error
    with reading(weights, SafetensorError, RuntimeError, kind=GenrobustError):
        model.load_state_dict(load_file(weights))
    return move_to(model, device).eval(), info
