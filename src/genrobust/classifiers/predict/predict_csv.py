"""Predict the classes of the images in a folder, as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax
from torch import nn

from genrobust.classifiers.networks.logits import compute_logits, read_ahead, stack_images
from genrobust.classifiers.opened_classifier import OpenClassifier
from genrobust.core import UserError, csv_line, progress_bar, repeatable, resolve_device
from genrobust.data import read_image, readable_names, walk_images


def images_in(folder: Path) -> list[Path]:
    """Return the images below `folder`, sorted by path, of any format.

    Raises:
        UserError: There are no images.
    """
    paths = sorted(folder / key for key, _ in walk_images(folder, any_format=True))
    if not paths:
        raise UserError(f"{folder} holds no images")
    return paths


def predict_images(
    model: OpenClassifier,
    folder: Path,
    paths: Sequence[Path],
    write: Callable[[bytes], object],
    top: int = 5,
    batch_size: int = 128,
    device: str = "auto",
) -> int:
    """Classify images, call `write` with the lines of a CSV file (UTF-8), and return how many cannot be read.

    A line has the path of an image below `folder`, and the `top` classes with their names in the data, readable names
    and probabilities. If the image cannot be read, these are empty and the last column gives the reason.
    """
    top = min(top, len(model.classes))
    torch_device = resolve_device(device)
    network = model.load(torch_device)
    columns = [f"{field}_{rank}" for rank in range(1, top + 1) for field in ("class", "name", "probability")]
    write(csv_line(["path", *columns, "error"]).encode())
    names = {**readable_names(model.classes), **model.descriptions}
    unreadable = 0

    def read(index: int) -> np.ndarray | str:
        try:
            return model.prepare(read_image(paths[index]))
        except UserError as error:
            return str(error)

    with repeatable(), progress_bar("predicting", len(paths)) as bar:
        remaining = iter(paths)
        for batch in read_ahead(read, len(paths), batch_size):
            readable = [image for image in batch if not isinstance(image, str)]
            probabilities = _probabilities(model, network, readable, torch_device)
            for image, path in zip(batch, remaining, strict=False):
                if isinstance(image, str):
                    unreadable += 1
                    cells = [*[""] * len(columns), image]
                else:
                    cells = [*_top_cells(next(probabilities), model.classes, names, top), ""]
                write(csv_line([path.relative_to(folder).as_posix(), *cells]).encode())
            bar.advance(len(batch))
    return unreadable


def _probabilities(
    model: OpenClassifier, network: nn.Module, images: list[np.ndarray], device: torch.device
) -> Iterator[np.ndarray]:
    """Return the probabilities of the classes, float64 [K], of each image."""
    if not images:
        return iter(())
    (logits,) = compute_logits([network], stack_images(images), device, model.flip, [model.name])
    return iter(softmax(logits.numpy().astype(np.float64), axis=1))


def _top_cells(probabilities: np.ndarray, classes: tuple[str, ...], names: dict[str, str], top: int) -> list[str]:
    cells = []
    for k in np.argsort(-probabilities, kind="stable")[:top]:
        cells += [classes[k], names[classes[k]], f"{probabilities[k]:.6f}"]
    return cells
