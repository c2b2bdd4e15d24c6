"""Features of all images, embedded once: a killed embedding goes on from those that it kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from genrobust.classifiers import Classifier, head_name, predict_logits, require_same_job, save_tensors
from genrobust.core import Artifact, ImageSet, Subset, progress_bar
from genrobust.recipe import TrainConfig

GROWTH = 5  # all features so far are written anew once they are a fifth more: six times the last file, in all
KEY, RUN = "features", "run"


class KeptFeatures:
    """The features that a probe has embedded so far, float32 [N, D], in the unfinished artifact in its folder.

    `run` is a hash of all that decides them; features of another run are refused.
    """

    def __init__(self, folder: Path, run: str, noun: str) -> None:
        self._artifact, self._run, self._noun = Artifact(folder), run, noun

    def load(self) -> np.ndarray | None:
        """Return the kept features; None if there are none.

        Raises:
            UserError: They are another run's.
            GenrobustError: The file is damaged.
        """
        kept = self._artifact.manifest()
        if KEY not in kept.about:
            return None
        require_same_job(kept.about, {RUN: self._run}, self._artifact.folder, self._noun)
        (name,) = kept.files
        features: np.ndarray = load_file(self._artifact.path(name))[KEY].numpy()
        return features

    def save(self, features: np.ndarray) -> None:
        """Replace the kept features."""
        name = f"{KEY}-{len(features):08d}.safetensors"
        save_tensors(self._artifact.folder / name, {KEY: torch.from_numpy(features)})
        self._artifact.keep([name], {RUN: self._run, KEY: len(features)})


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
