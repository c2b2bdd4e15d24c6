"""Classifiers: made by timm, owning their normalization, kept in a folder of safetensors and JSON, asked for logits."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from genrobust.data import ImageSet
from genrobust.errors import GenrobustError, UserError
from genrobust.files import make_folder, replacing

WEIGHTS, CONFIG = "model.safetensors", "checkpoint.json"
# timm would unpickle a file, go to the network, or lose the classes
_REFUSED = {"checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "num_classes"}


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
        return self.network(self._normalized(images))

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The features before the last layer, [B, D], and the logits, [B, K]."""
        network: Any = self.network  # torch types every attribute as a tensor or a module
        hidden = network.forward_features(self._normalized(images))
        return network.forward_head(hidden, pre_logits=True).flatten(1), network.forward_head(hidden)

    def _normalized(self, images: Tensor) -> Tensor:
        if images.dtype == torch.uint8:
            images = images.float() / 255
        return (images - self.mean) / self.std


def create_classifier(
    architecture: str, num_classes: int, image_size: int, model_kwargs: Mapping[str, Any] | None = None
) -> Classifier:
    """A classifier with random weights; `architecture` is any timm name. The global torch seed decides the weights.

    `model_kwargs` go to timm's constructor. Raises UserError, with near names, for a name that timm does not know, and
    for arguments that the architecture does not take or that `image_size` does not fit.
    """
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
        raise UserError(f"timm knows no architecture {architecture!r}; {hint}")
    arguments = dict(model_kwargs or {})
    if refused := sorted(arguments.keys() & _REFUSED):
        raise UserError(f"model_kwargs: {refused[0]} cannot be set: classifiers start from random weights")
    settings = timm.get_pretrained_cfg(architecture)
    if settings is not None and settings.fixed_input_size:
        arguments.setdefault("img_size", image_size)
    try:
        network = timm.create_model(architecture, num_classes=num_classes, **arguments)
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        what = f"{architecture} with {arguments}" if arguments else architecture
        raise UserError(f"timm cannot make {what} for images of {image_size} px: {error}") from error
    known: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]  # torch types every attribute as a module
    mean, std = (known.get(key) or (0.5, 0.5, 0.5) for key in ("mean", "std"))
    return Classifier(network, mean, std)


def place(model: Classifier, device: torch.device | str) -> Classifier:
    """Move `model` to `device`, convolutions in channels_last: faster on every device with fast bfloat16."""
    model.to(device)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's annotations lack it


# ------------------------------------------------------------------------------------------ checkpoints


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a checkpoint is: a timm `architecture` made with `model_kwargs`, for images of `image_size` pixels.

    `classes` are the K class ids in the order of the logits.

    `training` says how it came about (settings, seed, history); nothing here needs it to load.
    """

    architecture: str
    model_kwargs: dict[str, Any]
    classes: tuple[str, ...]
    image_size: int
    training: dict[str, Any]


def save_checkpoint(folder: Path, model: Classifier, info: CheckpointInfo) -> None:
    """Write the weights, then the JSON that marks the checkpoint as whole; each appears at once or not at all."""
    make_folder(folder)
    save_tensors(folder / WEIGHTS, model.state_dict())
    with replacing(folder / CONFIG) as file:
        file.write((json.dumps(asdict(info), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file that appears whole or not at all."""
    with replacing(path) as file:
        file.write(save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata))


def is_checkpoint(folder: Path) -> bool:
    """Whether `folder` holds a finished checkpoint: the JSON is written last."""
    return (folder / CONFIG).is_file()


def read_checkpoint_info(folder: Path) -> CheckpointInfo:
    """What the checkpoint in `folder` is, without its weights.

    Raises UserError where there is none (training writes the JSON last, so an unfinished run has none).
    """
    path = folder / CONFIG
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return CheckpointInfo(**{**raw, "classes": tuple(raw["classes"])})
    except FileNotFoundError:
        raise UserError(f"no finished checkpoint in {folder}: {CONFIG} is missing; train it first") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GenrobustError(f"cannot read {path}: {error!r}; delete {folder} and train again") from error


def load_checkpoint(folder: Path, device: torch.device | str = "cpu") -> tuple[Classifier, CheckpointInfo]:
    """The classifier in `folder`, in evaluation mode on `device`, and what it is. Raises as `read_checkpoint_info`."""
    info = read_checkpoint_info(folder)
    model = create_classifier(info.architecture, len(info.classes), info.image_size, info.model_kwargs)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise GenrobustError(f"cannot read {folder / WEIGHTS}: {error}; delete {folder} and train again") from error
    return place(model, device).eval(), info


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
    model: nn.Module,
    images: ImageSet,
    image_size: int,
    batch_size: int,
    device: torch.device | str,
    seen: Callable[[int], None] = lambda count: None,
) -> np.ndarray:
    """Logits float32 [N, K] of `images` in their order; float32 throughout, so the batch size changes rounding alone.

    `seen` is told the number of images of each batch. `model` is put into evaluation mode and left in it. Raises
    UserError for an empty set and for an image that cannot be read.
    """
    if len(images) == 0:
        raise UserError(f"the image set {images.name} is empty: there is nothing to predict")
    model.eval()
    logits = []
    for batch in batches(images, image_size, batch_size):
        logits.append(model(batch.to(device, memory_format=torch.channels_last)).float().cpu())
        seen(len(batch))
    return torch.cat(logits).numpy()


@torch.inference_mode()
def embed_images(
    model: Classifier,
    images: ImageSet,
    image_size: int,
    batch_size: int,
    device: torch.device | str,
    seen: Callable[[int], None] = lambda count: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 [N, D] before the last layer and logits float32 [N, K] of `images`, in their order.

    `seen` and what is raised are as for `predict_logits`.
    """
    if len(images) == 0:
        raise UserError(f"the image set {images.name} is empty: there is nothing to embed")
    model.eval()
    features, logits = [], []
    for batch in batches(images, image_size, batch_size):
        found = model.embed(batch.to(device, memory_format=torch.channels_last))
        features.append(found[0].float().cpu())
        logits.append(found[1].float().cpu())
        seen(len(batch))
    return torch.cat(features).numpy(), torch.cat(logits).numpy()
