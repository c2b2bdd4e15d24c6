"""Classifiers: made by timm, owning their normalization, kept in a folder of safetensors and JSON, asked for logits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from genrobust.classifiers.architectures import has_fixed_size, timm_name
from genrobust.classifiers.checkpoints import INFO, WEIGHTS, CheckpointInfo, read_checkpoint_info
from genrobust.classifiers.preprocess import prepare
from genrobust.core import GenrobustError, ImageSet, UserError, make_folder, replacing

T = TypeVar("T")

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

    @property
    def has_features(self) -> bool:
        """Whether `embed` can tell features: timm's networks have the two halves that it takes, torchvision's not."""
        return hasattr(self.network, "forward_features") and hasattr(self.network, "forward_head")

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
    """A classifier with random weights; the global torch seed decides them.

    `architecture` is any name of timm's, or one of `architectures.PAPER`; `model_kwargs` go to timm's constructor.
    Raises UserError, with near names, for a name that neither knows, and for arguments that the architecture does not
    take or that `image_size` does not fit.
    """
    name = timm_name(architecture)
    arguments = dict(model_kwargs or {})
    if refused := sorted(arguments.keys() & _REFUSED):
        raise UserError(f"model_kwargs: {refused[0]} cannot be set: classifiers start from random weights")
    if has_fixed_size(architecture):
        arguments.setdefault("img_size", image_size)
    try:
        network = timm.create_model(name, num_classes=num_classes, **arguments)
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


# ------------------------------------------------------------------------------------------ precision


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a network of float32 weights computes in `precision`."""
    # off for float32, and then with a dtype that every device takes
    dtype = torch.float16 if precision == "float16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=precision != "float32")


# ------------------------------------------------------------------------------------------ checkpoints


def save_checkpoint(folder: Path, model: Classifier, info: CheckpointInfo) -> None:
    """Write the weights, then the JSON that marks the checkpoint as whole; each appears at once or not at all."""
    make_folder(folder)
    save_tensors(folder / WEIGHTS, model.state_dict())
    with replacing(folder / INFO) as file:
        file.write((json.dumps(asdict(info), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file that appears whole or not at all."""
    with replacing(path) as file:
        file.write(save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata))


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


def read_ahead(read: Callable[[int], T], count: int, batch_size: int) -> Iterator[list[T]]:
    """What `read` gives for 0 to `count` - 1, in lists of `batch_size`: by a few threads, one list ahead of its use."""
    starts = range(0, count, batch_size)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:

        def submit(start: int) -> list[Future[T]]:
            return [pool.submit(read, i) for i in range(start, min(start + batch_size, count))]

        ahead = submit(0)
        for start in starts:
            ready, ahead = ahead, submit(start + batch_size)
            yield [f.result() for f in ready]


def batches(images: ImageSet, size: int, batch_size: int, crop_pct: float = 1) -> Iterator[Tensor]:
    """The images in order as uint8 [B, 3, size, size], read as `read_ahead` reads."""
    for ready in read_ahead(lambda i: prepare(images.image(i), size, crop_pct), len(images), batch_size):
        yield stacked(ready)


def stacked(images: Sequence[np.ndarray]) -> Tensor:
    """Prepared images, uint8 [H, W, 3] each, as one batch [B, 3, H, W]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def predict_logits(
    model: nn.Module,
    images: ImageSet,
    image_size: int,
    batch_size: int,
    device: torch.device | str,
    seen: Callable[[int], None] = lambda count: None,
    crop_pct: float = 1,
    flip: bool = False,
) -> np.ndarray:
    """Logits float32 [N, K] of `images` in their order; float32 throughout, so the batch size changes rounding alone.

    `crop_pct` is as in `prepare`; with `flip` they are averaged over each image and its mirror. `seen` is told the
    number of images of each batch. `model` is put into evaluation mode and left in it. Raises UserError for an empty
    set and for an image that cannot be read.
    """
    return predict_together([model], images, image_size, batch_size, device, seen, crop_pct, flip)[0]


@torch.inference_mode()
def predict_together(
    models: Sequence[nn.Module],
    images: ImageSet,
    image_size: int,
    batch_size: int,
    device: torch.device | str,
    seen: Callable[[int], None] = lambda count: None,
    crop_pct: float = 1,
    flip: bool = False,
) -> list[np.ndarray]:
    """What `predict_logits` gives for each of `models`, bit for bit; each image is read and prepared once for all.

    `seen` is told the number of images of each batch once a model.
    """
    if len(images) == 0:
        raise UserError(f"the image set {images.name} is empty: there is nothing to predict")
    logits: list[list[Tensor]] = [[] for _ in models]
    for batch in batches(images, image_size, batch_size, crop_pct):
        views = [batch, batch.flip(3)] if flip else [batch]
        views = [view.to(device, memory_format=torch.channels_last) for view in views]
        for model, found in zip(models, logits, strict=True):
            model.eval()
            found.append(torch.stack([model(view).float() for view in views]).mean(dim=0).cpu())
            seen(len(batch))
    return [torch.cat(found).numpy() for found in logits]


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
