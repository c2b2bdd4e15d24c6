"""Features of all images, embedded once: a killed embedding goes on from those that it kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from genrobust.classifiers import (
    FEATURES,
    Classifier,
    check_state,
    head_name,
    predict_logits,
    require_same_job,
    tensor_bytes,
    write_state,
)
from genrobust.core import BLANK_SEAL, SEAL, GenrobustError, ImageSet, Subset, fetch, progress_bar, reading
from genrobust.recipe import TrainConfig

GROWTH = 5  # all features so far are written anew once they are a fifth more: six times the last file, in all
KEY, RUN = "features", "run"


class KeptFeatures:
    """The features that a probe has embedded so far, float32 [N, D], in a file of its folder.

    `run` is a hash of all that decides them; features of another run are refused. `claim_training` removes the file
    when the training has ended.
    """

    def __init__(self, folder: Path, run: str, noun: str) -> None:
        self._folder, self._run, self._noun = folder, run, noun

    def load(self) -> np.ndarray | None:
        """Return the kept features; None if there are none.

        Raises:
            UserError: They are another run's.
            GenrobustError: The file is damaged.
        """
        fetch(self._folder, FEATURES)
        path = self._folder / FEATURES
        if not path.exists():
            return None
        check_state(path)
        with reading(path, SafetensorError, KeyError, then="; delete it to train from the start", kind=GenrobustError):
            with safe_open(path, framework="numpy") as file:
                require_same_job({RUN: file.metadata()[RUN]}, {RUN: self._run}, self._folder, self._noun)
                features: np.ndarray = file.get_tensor(KEY)
            return features

    def save(self, features: np.ndarray) -> None:
        """Replace the kept features."""
        content = tensor_bytes({KEY: torch.from_numpy(features)}, {RUN: self._run, SEAL: BLANK_SEAL})
        write_state(self._folder / FEATURES, content)


def embed(
    model: Classifier,
    sets: Sequence[ImageSet],
    config: TrainConfig,
    interpolation: str,
    device: torch.device,
    kept: KeptFeatures | None = None,
) -> list[np.ndarray]:
    """Return what the last layer of `model` is given, float32 [N, D], for the images of each of `sets`.

    Args:
        kept: Where features are kept meanwhile, after as many images as `save_every` steps take, or once they are a
            fifth more; None keeps none.

    Raises:
        UserError: Features of another training are kept.
        GenrobustError: The kept features are damaged.
    """
    batch = 2 * config.batch_size
    each = batch * max(1, config.save_every // 2)  # whole batches: sums round as in one go
    found = [] if kept is None or (before := kept.load()) is None else [before]
    done = saved = sum(map(len, found))
    total = sum(map(len, sets))
    with progress_bar("embedding", total, done=done) as bar, _without_last(model):
        for images, start in _parts(sets, each, done):
            part = Subset(images, np.arange(start, min(start + each, len(images))))
            found.append(predict_logits(model, part, config.image_size, batch, device, interpolation, bar.advance))
            done += len(part)
            if kept is not None and done > each and (done == total or done - saved >= max(each, saved // GROWTH)):
                found = [np.concatenate(found)]
                kept.save(found[0])
                saved = done
    ends = np.cumsum([len(images) for images in sets])
    return np.split(np.concatenate(found), ends[:-1])


def _parts(sets: Sequence[ImageSet], each: int, done: int) -> Iterator[tuple[ImageSet, int]]:
    """Yield each set, and where each of its parts begins, but for the first `done` images of them all."""
    for images in sets:
        yield from ((images, start) for start in range(min(done, len(images)), len(images), each))
        done -= min(done, len(images))


@contextmanager
def _without_last(model: Classifier) -> Iterator[None]:
    """Let the network return what its last layer gets."""
    name = head_name(model.network)
    parent, _, own = name.rpartition(".")
    holder, last = model.network.get_submodule(parent), model.network.get_submodule(name)
    setattr(holder, own, nn.Identity())
    try:
        yield
    finally:
        setattr(holder, own, last)
