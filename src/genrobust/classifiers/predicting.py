"""Classifiers x image sets -> Predictions, kept on disk so that figures are computed again without the classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genrobust.classifiers.opened import OpenClassifier
from genrobust.classifiers.saved import (
    PredictedBy,
    SavedPredictions,
    are_saved,
    prediction_folder,
    prediction_inputs,
    save_predictions,
)
from genrobust.core import (
    ImageSet,
    LabelSpace,
    Predictions,
    digest,
    fetch_artifacts,
    keep_freed_memory,
    progress_bar,
    resolve_device,
    set_threads,
)

if TYPE_CHECKING:  # torch takes seconds, and saved predictions are read without it
    import torch
    from torch import nn

FILLED = 0.25  # of a GPU's memory: as much again for the next network, and half for the batch
TOGETHER = 16  # classifiers in memory at once, with their logits of a set; for more, images are decoded again


def predict_sets(
    room: Path,
    classifiers: Mapping[PredictedBy, OpenClassifier],
    sets: Mapping[str, ImageSet],
    labels: LabelSpace,
    batch_size: int,
    device: str = "auto",
    threads: int | None = None,
) -> dict[PredictedBy, SavedPredictions[str]]:
    """Predict every set with every classifier, and save each in a folder of `room`.

    Saved predictions of these weights on these images are loaded instead. An image is read and prepared once for all
    classifiers that want it prepared alike, up to `TOGETHER` of them. Logits are those of the classes of `labels`
    alone, matched by id.

    Args:
        classifiers: Each by what its predictions are named after.
        batch_size: Images at once: it changes rounding alone.

    Returns:
        The predictions by classifier and name of the set.

    Raises:
        UserError: A classifier that does not know one of the classes, before any is loaded; an empty set; an image
            that cannot be read.
        GenrobustError: A classifier gives logits that are NaN or infinite.
    """
    fetch_artifacts(room)
    kept = {by: _Kept(room, by, classifier, sets, labels) for by, classifier in classifiers.items()}
    groups: dict[str, list[_Kept]] = {}
    for one in kept.values():
        if one.missing:
            groups.setdefault(one.classifier.prepared, []).append(one)
    if groups:
        where = resolve_device(device)
        if threads is not None:
            set_threads(threads)
        keep_freed_memory(where)
        with progress_bar("evaluating", sum(one.unseen for one in kept.values())) as bar:
            for alike in groups.values():
                while alike:
                    alike = alike[_predict(alike, sets, batch_size, where, bar.advance) :]
    return {by: one.saved for by, one in kept.items()}


def _predict(
    some: Sequence[_Kept],
    sets: Mapping[str, ImageSet],
    batch_size: int,
    where: torch.device,
    seen: Callable[[int], None],
) -> int:
    """Make the missing predictions of the first classifiers of `some`, all of which want images prepared alike.

    Returns how many classifiers that are: one or more, as the device has room.
    """
    from genrobust.classifiers.logits import predict_together

    networks: list[nn.Module] = []
    while len(networks) < min(len(some), TOGETHER) and not (networks and _is_filled(where)):
        networks.append(some[len(networks)].classifier.load(where))
    some, how = some[: len(networks)], some[0].classifier
    for name, images in sets.items():
        asked = [(one, network) for one, network in zip(some, networks, strict=True) if name in one.missing]
        if asked:
            of_asked, names = [network for _, network in asked], [one.classifier.name for one, _ in asked]
            logits = predict_together(of_asked, images, how.prepare, batch_size, where, seen, how.flip, names)
            for (one, _), of_one in zip(asked, logits, strict=True):
                one.save(name, of_one)
    return len(some)


def _is_filled(where: torch.device) -> bool:
    """Whether weights take so much of a GPU that a batch of images might find no room beside more."""
    import torch

    return where.type == "cuda" and (
        torch.cuda.memory_allocated(where) > FILLED * torch.cuda.get_device_properties(where).total_memory
    )


class _Kept:
    """One classifier's predictions on `sets`; `missing` are the names of those to be made."""

    def __init__(
        self,
        room: Path,
        by: PredictedBy,
        classifier: OpenClassifier,
        sets: Mapping[str, ImageSet],
        labels: LabelSpace,
    ) -> None:
        self.classifier, self._sets, self._classes = classifier, sets, labels.ids
        self._columns = None if classifier.classes == labels.ids else classifier.columns(labels)
        weights = classifier.weights
        self._weights = weights if self._columns is None else digest([weights, self._columns], 64)
        self._inputs = {name: prediction_inputs(by, name, images, labels) for name, images in sets.items()}
        folders = {name: prediction_folder(room, by, inputs) for name, inputs in self._inputs.items()}
        self.missing = [name for name, folder in folders.items() if not are_saved(folder, self._weights)]
        self.saved = SavedPredictions(folders)

    @property
    def unseen(self) -> int:
        """The number of images of the missing sets."""
        return sum(len(self._sets[name]) for name in self.missing)

    def save(self, name: str, logits: np.ndarray) -> None:
        images, prepared = self._sets[name], self.classifier.prepared
        accepted, protocol = getattr(images, "accepted", None), getattr(images, "protocol", "")
        chosen = logits if self._columns is None else logits[:, self._columns]
        words = "; ".join(filter(None, [prepared, protocol]))
        made = Predictions(name, chosen, images.labels, tuple(images.keys), self._classes, words, accepted)
        save_predictions(self.saved.folders[name], made, self._inputs[name], self._weights)
