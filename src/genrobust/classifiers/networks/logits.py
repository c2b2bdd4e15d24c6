"""Run networks on images, which a few threads read and prepare ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from genrobust.classifiers.image_preparation import BICUBIC, prepare as prepare_center
from genrobust.core import (
    GenrobustError,
    ImageSet,
    check_not_empty,
    feed,
    is_out_of_memory,
    one_line,
    reading_pool,
    repeatable,
)
from genrobust.store import no_progress

T = TypeVar("T")
Prepare = Callable[[Image.Image], np.ndarray]  # an image of any size to uint8 [H, W, 3]


def read_ahead(read: Callable[[int], T], count: int, batch_size: int) -> Iterator[list[T]]:
    """Yield what `read` returns for 0 to `count` - 1 in lists of `batch_size`, one list read ahead by a few threads."""
    with reading_pool() as pool:

        def submit(start: int) -> list[Future[T]]:
            return [pool.submit(read, i) for i in range(start, min(start + batch_size, count))]

        ahead = submit(0)
        for start in range(0, count, batch_size):
            ready = ahead
            ahead = submit(start + batch_size)
            yield [future.result() for future in ready]


@dataclass(frozen=True, slots=True)
class Feed:
    """Feeds images to networks on `device`, `batch_size` at once, which changes only rounding."""

    batch_size: int
    device: torch.device

    def batches(self, images: ImageSet, prepare: Prepare) -> Iterator[Tensor]:
        """Yield the prepared images in order as uint8 [B, 3, H, W], copied to a GPU ahead of their use."""
        ready = read_ahead(lambda i: prepare(images.image(i)), len(images), self.batch_size)
        for (batch,) in feed(zip(map(stack_images, ready)), self.device):
            yield batch


def stack_images(images: Sequence[np.ndarray]) -> Tensor:
    """Return prepared images, uint8 [H, W, 3] each, as one batch [B, 3, H, W]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def on_device(batch: Tensor, device: torch.device | str) -> Tensor:
    return batch.to(device, memory_format=torch.channels_last)


def require_finite(values: Tensor, name: str, quantity: str = "logits") -> Tensor:
    """Return `values` of the network that users know as `name`."""
    if not bool(values.isfinite().all()):
        raise GenrobustError(
            f"{name} gives {quantity} that are no numbers (NaN or infinite): its weights are damaged, or its training "
            "diverged. Get it or train it again"
        )
    return values


@torch.inference_mode()
def compute_logits(
    networks: Sequence[nn.Module], batch: Tensor, device: torch.device | str, flip: bool, names: Sequence[str]
) -> list[Tensor]:
    """Return the logits, float32 [B, K], that each network gives for uint8 images [B, 3, H, W].

    With `flip`, they are averaged over each image and its mirror. Users know the networks by `names`.
    """
    batch = on_device(batch, device)
    views = [batch]
    if flip:
        views.append(on_device(batch.flip(3), device))
    outputs = []
    for network, name in zip(networks, names, strict=True):
        with blame_network(name):
            outputs.append(torch.stack([network(view).float() for view in views]).mean(dim=0))
    checked = []
    # Copy after all networks have started: a copy waits for the GPU.
    for output, name in zip(outputs, names, strict=True):
        with blame_network(name):
            logits = output.cpu()
        if logits.ndim != 2 or len(logits) != len(batch):
            shapes = f"{list(logits.shape)} for images of {list(batch.shape)}"
            raise GenrobustError(f"{name} gives {shapes}: a classifier gives a row of logits for each image")
        checked.append(require_finite(logits, name))
    return checked


@contextmanager
def blame_network(name: str) -> Iterator[None]:
    """Turn errors of the network called `name`, except for lack of memory, into a GenrobustError that names it."""
    try:
        yield
    except Exception as error:
        # A foreign network may raise anything.
        if is_out_of_memory(error):
            raise
        raise GenrobustError(f"{name} cannot be run: {one_line(error)}: get another") from error


def predict_together(
    networks: Sequence[nn.Module],
    images: ImageSet,
    prepare: Prepare,
    feed: Feed,
    names: Sequence[str],
    advance: Callable[[int], None] = no_progress,
    flip: bool = False,
) -> list[np.ndarray]:
    """Return the logits, float32 [N, K], of each network for `images`, which are read and prepared once.

    Networks compute in float32. They are put into evaluation mode and left in it. `advance` gets the size of each
    batch, once for each network.
    """
    check_not_empty(images)
    logits: list[list[Tensor]] = [[] for _ in networks]
    for network in networks:
        network.eval()
    with repeatable():
        for batch in feed.batches(images, prepare):
            outputs = compute_logits(networks, batch, feed.device, flip, names)
            for parts, batch_logits in zip(logits, outputs, strict=True):
                parts.append(batch_logits)
                advance(len(batch))
    return [torch.cat(parts).numpy() for parts in logits]


def predict_logits(
    network: nn.Module,
    images: ImageSet,
    image_size: int,
    batch_size: int,
    device: torch.device | str,
    interpolation: str = BICUBIC,
    advance: Callable[[int], None] = no_progress,
) -> np.ndarray:
    """Return the logits, float32 [N, K], of a network that trains, for images resized and cropped to `image_size`."""
    transform = partial(prepare_center, size=image_size, interpolation=interpolation)
    feed = Feed(batch_size, torch.device(device))
    return predict_together([network], images, transform, feed, ["the network"], advance)[0]


def val_top1(
    network: nn.Module,
    val: ImageSet,
    image_size: int,
    batch_size: int,
    device: torch.device | str,
    interpolation: str,
) -> float | None:
    """Return the top-1 accuracy, in percent, of a network on validation images. None without images."""
    if len(val) == 0:
        return None
    logits = predict_logits(network, val, image_size, batch_size, device, interpolation)
    return 100 * float(np.mean(logits.argmax(axis=1) == val.labels))
