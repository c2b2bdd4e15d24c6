"""Classifiers: made by timm, owning their normalization, kept in a folder of safetensors and JSON, asked for logits."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from genrobust.data import ImageSet
from genrobust.errors import GenrobustError, UserError

WEIGHTS, CONFIG = "model.safetensors", "checkpoint.json"


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


def create_classifier(architecture: str, num_classes: int, image_size: int = 64) -> Classifier:
    """A classifier with random weights; `architecture` is any timm name. The global torch seed decides the weights.

    Raises UserError, with near names, for a name that timm does not know, and for one that `image_size` does not fit.
    """
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
        raise UserError(f"timm knows no architecture {architecture!r}; {hint}")
    settings = timm.get_pretrained_cfg(architecture)
    fixed = {"img_size": image_size} if settings is not None and settings.fixed_input_size else {}
    try:
        network = timm.create_model(architecture, num_classes=num_classes, **fixed)
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        raise UserError(f"{architecture} cannot be made for images of {image_size} px: {error}") from error
    mean, std = (network.pretrained_cfg.get(k) or (0.5, 0.5, 0.5) for k in ("mean", "std"))
    return Classifier(network, mean, std)


# ------------------------------------------------------------------------------------------ checkpoints


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a checkpoint is: `classes` are the K class ids in the order of the logits, `image_size` is in pixels.

    `training` says how it came about (settings, seed, history); nothing here needs it to load.
    """

    architecture: str
    classes: tuple[str, ...]
    image_size: int
    training: dict[str, Any]


def save_checkpoint(folder: Path, model: Classifier, info: CheckpointInfo) -> None:
    """Write weights, then the JSON that marks the checkpoint as whole; each appears at once or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / WEIGHTS, model.state_dict())
    text = json.dumps(asdict(info), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    part = folder / f"{CONFIG}.part"
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / CONFIG)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file that appears whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, part, metadata)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)


def read_checkpoint_info(folder: Path) -> CheckpointInfo:
    """What the checkpoint in `folder` is, without its weights.

    Raises UserError where there is none (training writes the JSON last, so an unfinished run has none).
    """
    path = folder / CONFIG
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return CheckpointInfo(raw["architecture"], tuple(raw["classes"]), int(raw["image_size"]), raw["training"])
    except FileNotFoundError:
        raise UserError(f"no finished checkpoint in {folder}: {CONFIG} is missing; train it first") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GenrobustError(f"cannot read {path}: {error!r}; delete {folder} and train again") from error


def load_checkpoint(folder: Path, device: torch.device | str = "cpu") -> tuple[Classifier, CheckpointInfo]:
    """The classifier in `folder`, in evaluation mode on `device`, and what it is. Raises as `read_checkpoint_info`."""
    info = read_checkpoint_info(folder)
    model = create_classifier(info.architecture, len(info.classes), info.image_size)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise GenrobustError(f"cannot read {folder / WEIGHTS}: {error}; delete {folder} and train again") from error
    return model.to(device, memory_format=torch.channels_last).eval(), info


# ----------------------------------------------------------------------------------------------- logits


def prepare(image: Image.Image, size: int) -> np.ndarray:
    """`image` as uint8 [size, size, 3]: shorter side resized to `size` (bicubic, antialiased), centre cropped."""
    if image.size != (size, size):
        width, height = image.size
        scale = size / min(width, height)
        box = (max(size, round(width * scale)), max(size, round(height * scale)))
        image = image.resize(box, Image.Resampling.BICUBIC)
        left, top = (box[0] - size) // 2, (box[1] - size) // 2
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image, dtype=np.uint8)


def protocol(size: int) -> str:
    """How `prepare` and `predict_logits` treat an image, in words: accuracies compare under the same words only."""
    return f"{size} px: shorter side resized (bicubic, antialiased), centre crop; no flip; float32"


def batches(images: ImageSet, size: int, batch_size: int) -> Iterator[Tensor]:
    """The images in order as uint8 [B, 3, size, size], decoded by a few threads, one batch ahead of its use."""
    starts = range(0, len(images), batch_size)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:

        def submit(start: int) -> list[Any]:
            indices = range(start, min(start + batch_size, len(images)))
            return [pool.submit(lambda i: prepare(images.image(i), size), i) for i in indices]

        ahead = submit(0)
        for start in starts:
            ready, ahead = ahead, submit(start + batch_size)
            yield torch.from_numpy(np.stack([f.result() for f in ready])).permute(0, 3, 1, 2)


@torch.inference_mode()
def predict_logits(
    model: nn.Module, images: ImageSet, image_size: int, batch_size: int, device: torch.device | str
) -> np.ndarray:
    """Logits float32 [N, K] of `images` in their order; float32 throughout, so the batch size changes rounding alone.

    `model` is put into evaluation mode and left in it. Raises UserError for an empty set and for an image that cannot
    be read.
    """
    if len(images) == 0:
        raise UserError(f"the image set {images.name} is empty: there is nothing to predict")
    model.eval()
    logits = [
        model(batch.to(device, memory_format=torch.channels_last)).float().cpu()
        for batch in batches(images, image_size, batch_size)
    ]
    return torch.cat(logits).numpy()
