"""Classify the images in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.special import softmax
from torch import nn

from genrobust.classifiers.networks.logits import compute_logits, read_ahead, stack_images
from genrobust.classifiers.opened_classifier import OpenClassifier
from genrobust.core import UserError, progress_bar, repeatable, resolve_device
from genrobust.data import read_image, walk_images


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a classifier to one image.

    Attributes:
        path: The path of the image below the folder.
        ranking: The classes, the likeliest first. Empty if the image cannot be read.
        probabilities: The probability of each class in `ranking`.
        error: Why the image cannot be read, or "".
        picture: What `draw` returned for the image.
    """

    path: str
    ranking: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str = ""
    picture: bytes = b""


def images_in(folder: Path) -> list[Path]:
    """Return the images below `folder`, sorted by path, of any format."""
    paths = sorted(folder / key for key, _ in walk_images(folder, any_format=True))
    if not paths:
        raise UserError(f"{folder} holds no images")
    return paths


def classify_images(
    model: OpenClassifier,
    folder: Path,
    paths: Sequence[Path],
    top: int,
    batch_size: int = 128,
    device: str = "auto",
    draw: Callable[[Image.Image], bytes] | None = None,
) -> Iterator[Answer]:
    """Yield the answer to each image, in the order of `paths`, which are below `folder`: the `top` likeliest classes.

    `draw` makes a picture of each image that can be read.
    """
    torch_device = resolve_device(device)
    network = model.load(torch_device)

    def read(index: int) -> tuple[np.ndarray, bytes] | str:
        try:
            image = read_image(paths[index])
            return model.prepare(image), b"" if draw is None else draw(image)
        except UserError as error:
            return str(error)

    with repeatable(), progress_bar("predicting", len(paths)) as bar:
        remaining = iter(paths)
        for batch in read_ahead(read, len(paths), batch_size):
            prepared = [item[0] for item in batch if not isinstance(item, str)]
            probabilities = _probabilities(model, network, prepared, torch_device)
            for item, path in zip(batch, remaining, strict=False):
                name = path.relative_to(folder).as_posix()
                if isinstance(item, str):
                    yield Answer(name, error=item)
                    continue
                of_classes = next(probabilities)
                ranking = np.argsort(-of_classes, kind="stable")[:top]
                yield Answer(name, tuple(ranking.tolist()), tuple(of_classes[ranking].tolist()), picture=item[1])
            bar.advance(len(batch))


def _probabilities(
    model: OpenClassifier, network: nn.Module, images: list[np.ndarray], device: torch.device
) -> Iterator[np.ndarray]:
    """Return the probabilities of the classes, float64 [K], of each image."""
    if not images:
        return iter(())
    (logits,) = compute_logits([network], stack_images(images), device, model.flip, [model.name])
    return iter(softmax(logits.numpy().astype(np.float64), axis=1))
