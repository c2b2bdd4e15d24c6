"""Classifiers that are there already, on data of other classes than they know: matched by id, and kept like others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from genrobust.classifiers.checkpoints import WEIGHTS, read_checkpoint_info
from genrobust.classifiers.matching import Prepared, columns_of
from genrobust.classifiers.models import predict_logits
from genrobust.classifiers.opening import open_classifier
from genrobust.classifiers.predictor import SINGLE_CROP, Logits, checkpoint_logits, kept_predictions
from genrobust.classifiers.preprocess import protocol
from genrobust.core import ImageSet, LabelSpace, Predictions, digest, hash_file
from genrobust.recipe import EvaluateConfig

BATCH_SIZE = 128  # images: changes no figure beyond rounding


@dataclass(frozen=True, slots=True)
class Existing:
    """A classifier that knows `classes`, K ids in the order of its logits.

    `place` is the word that named it, `weights` a hash of all that its logits depend on beside the images, and
    `prepared` says how it prepares those. `load` reads it for a device.
    """

    place: str
    classes: tuple[str, ...]
    weights: str
    prepared: str
    load: Callable[[torch.device], Logits]


def open_checkpoint(folder: Path, settings: EvaluateConfig = SINGLE_CROP) -> Existing:
    """The genrobust checkpoint in `folder`, asked as `settings` say. Raises UserError where there is none."""
    info = read_checkpoint_info(folder)
    words = protocol(settings.image_size or info.image_size, settings.crop_pct, settings.flip)
    load = partial(checkpoint_logits, folder, settings)
    return Existing(str(folder), info.classes, hash_file(folder / WEIGHTS), words, load)


def open_existing(word: str, labels: Path | None = None) -> Existing:
    """Any other classifier, as `open_classifier` opens it, which prepares images in its own way. Raises as that."""
    found = open_classifier(word, labels)

    def load(where: torch.device) -> Logits:
        network = found.load(where)
        return lambda images, seen: predict_logits(
            network, Prepared(images, found), found.image_size, BATCH_SIZE, where, seen
        )

    return Existing(found.place, found.classes, found.weights, found.prepared, load)


def predict_existing(
    model: Existing, sets: dict[str, ImageSet], labels: LabelSpace, out: Path, device: str = "auto"
) -> Mapping[str, Predictions]:
    """Predictions on every set over the classes of `labels` alone, matched by id; kept in `out` as `predict` keeps its.

    Raises UserError where the model does not know one of the classes, a set is empty or an image cannot be read.
    """
    columns = columns_of(model.place, model.classes, labels)

    def load(where: torch.device) -> Logits:
        logits = model.load(where)
        return lambda images, seen: logits(images, seen)[:, columns]

    return kept_predictions(digest([model.weights, columns], 64), load, model.prepared, sets, labels, out, device)
