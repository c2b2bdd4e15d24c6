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
        manifest = self._artifact.manifest()
        if KEY not in manifest.about:
            return None
        require_same_job(manifest.about, {RUN: self._run}, self._artifact.folder, self._noun)
        (name,) = manifest.files
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
    cache: KeptFeatures | None = None,
) -> list[np.ndarray]:
    """Return what the last layer of `model` is given, float32 [N, D], for the images of each of `sets`.

    Args:
        cache: Where features are saved meanwhile, after as many images as `save_every` steps take, or once they are a
            fifth more; None keeps none.

    Raises:
        UserError: Features of another training are kept.
        GenrobustError: The kept features are damaged.
    """
    batch = 2 * config.batch_size
    chunk = batch * max(1, config.save_every // 2)  # whole batches: sums round as in one go
    features = [] if cache is None or (cached := cache.load()) is None else [cached]
    done = saved = sum(map(len, features))
    total = sum(map(len, sets))
    with progress_bar("embedding", total, done=done) as bar, _without_head(model):
        for images, start in _chunk_starts(sets, chunk, done):
            part = Subset(images, np.arange(start, min(start + chunk, len(images))))
            features.append(predict_logits(model, part, config.image_size, batch, device, interpolation, bar.advance))
            done += len(part)
            if cache is not None and done > chunk and (done == total or done - saved >= max(chunk, saved // GROWTH)):
                features = [np.concatenate(features)]
                cache.save(features[0])
                saved = done
    ends = np.cumsum([len(images) for images in sets])
    return np.split(np.concatenate(features), ends[:-1])


def _chunk_starts(sets: Sequence[ImageSet], chunk: int, done: int) -> Iterator[tuple[ImageSet, int]]:
    """Yield each set with the start of each of its chunks, without the first `done` images of all sets."""
    for images in sets:
        yield from ((images, start) for start in range(min(done, len(images)), len(images), chunk))
        done -= min(done, len(images))


@contextmanager
def _without_head(model: Classifier) -> Iterator[None]:
    """Replace the last layer by the identity, so that the network returns features."""
    name = head_name(model.network)
    path, _, attribute = name.rpartition(".")
    parent, head = model.network.get_submodule(path), model.network.get_submodule(name)
    setattr(parent, attribute, nn.Identity())
    try:
        yield
    finally:
        setattr(parent, attribute, head)
