"""Run classifiers on image sets, and cache their predictions on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genrobust.classifiers.opened_classifier import OpenClassifier
from genrobust.classifiers.predict.saved_predictions import (
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
    keep_freed_memory,
    progress_bar,
    resolve_device,
    set_threads,
)
from genrobust.store import fetch_artifacts, made_by

if TYPE_CHECKING:
    # Import late: reading saved predictions must not load torch.
    import torch
    from torch import nn

    from genrobust.classifiers.networks.logits import Feed

# Of a GPU's memory: the next network may take as much again, and half is left for the batch.
MAX_WEIGHTS_SHARE = 0.25
MAX_CLASSIFIERS = 16  # in memory at once, with their logits of a set; each group decodes images again


def predict_sets(
    predictions_folder: Path,
    classifiers: Mapping[PredictedBy, OpenClassifier],
    sets: Mapping[str, ImageSet],
    labels: LabelSpace,
    batch_size: int,
    device: str = "auto",
    threads: int | None = None,
) -> dict[PredictedBy, SavedPredictions[str]]:
    """Run every classifier on every image set, and save the predictions in folders of `predictions_folder`.

    Predictions that are saved already, for the same weights and images, are not computed again. Classifiers with the
    same image preparation run together, up to `MAX_CLASSIFIERS` of them: each image is read and prepared once for the
    group. Only the logits of the classes of `labels` are kept, matched by name. A classifier that does not know one of
    them is an error before any is loaded.
    """
    fetch_artifacts(predictions_folder)
    caches = {
        key: _PredictionCache(predictions_folder, key, classifier, sets, labels)
        for key, classifier in classifiers.items()
    }
    groups: dict[str, list[_PredictionCache]] = {}
    for cache in caches.values():
        if cache.missing:
            groups.setdefault(cache.classifier.preparation, []).append(cache)
    if groups:
        from genrobust.classifiers.networks.logits import Feed

        feed = Feed(batch_size, resolve_device(device))
        if threads is not None:
            set_threads(threads)
        keep_freed_memory(feed.device)
        with progress_bar("evaluating", sum(cache.missing_images for cache in caches.values())) as bar:
            for group in groups.values():
                while group:
                    done = _predict_group(group, sets, feed, bar.advance)
                    group = group[done:]
    return {key: cache.saved for key, cache in caches.items()}


def _predict_group(
    caches: Sequence[_PredictionCache],
    sets: Mapping[str, ImageSet],
    feed: Feed,
    advance: Callable[[int], None],
) -> int:
    """Compute the missing predictions of the first classifiers of `caches`, which all prepare images alike.

    Returns the number of classifiers that ran: one or more, as many as fit into the memory of the device.
    """
    from genrobust.classifiers.networks.logits import predict_together
    from genrobust.classifiers.predict.adapted_batch_norms import adapted_batch_norms

    networks: list[nn.Module] = []
    for cache in caches[:MAX_CLASSIFIERS]:
        # One network always runs.
        if networks and _weights_fill_gpu(feed.device):
            break
        networks.append(cache.classifier.load(feed.device))
    caches = caches[: len(networks)]
    # All prepare images as the first does, and their words for it include the flip.
    classifier = caches[0].classifier
    for name, images in sets.items():
        pending = [(cache, network) for cache, network in zip(caches, networks, strict=True) if name in cache.missing]
        if pending:
            adapted = [network for cache, network in pending if cache.classifier.adapted]
            names = [cache.classifier.name for cache, _ in pending]
            with adapted_batch_norms(adapted, images, classifier.prepare, feed):
                outputs = predict_together(
                    [network for _, network in pending],
                    images,
                    classifier.prepare,
                    feed,
                    names,
                    advance,
                    classifier.flip,
                )
            for (cache, _), logits in zip(pending, outputs, strict=True):
                cache.save(name, logits)
    return len(caches)


def _weights_fill_gpu(device: torch.device) -> bool:
    """Return whether weights take so much of a GPU's memory that another network might leave none for a batch."""
    import torch

    if device.type != "cuda":
        return False
    total = torch.cuda.get_device_properties(device).total_memory
    return torch.cuda.memory_allocated(device) > MAX_WEIGHTS_SHARE * total


class _PredictionCache:
    """The predictions of one classifier on `sets`, saved in folders of `predictions_folder`.

    Attributes:
        missing: The names of the sets whose predictions are not saved yet.
        saved: The predictions by name of the set.
    """

    def __init__(
        self,
        predictions_folder: Path,
        predicted_by: PredictedBy,
        classifier: OpenClassifier,
        sets: Mapping[str, ImageSet],
        labels: LabelSpace,
    ) -> None:
        self.classifier = classifier
        self._sets = sets
        self._classes = labels.ids
        self._columns = _columns_to_keep(classifier, labels)
        self._weights = classifier.weights_hash
        if self._columns is not None:
            self._weights = digest([self._weights, self._columns], 64)
        self._inputs = {name: prediction_inputs(predicted_by, name, images, labels) for name, images in sets.items()}
        folders = {
            name: prediction_folder(predictions_folder, predicted_by, inputs) for name, inputs in self._inputs.items()
        }
        self.missing = [name for name, folder in folders.items() if not are_saved(folder, self._weights)]
        self.saved = SavedPredictions(folders)

    @property
    def missing_images(self) -> int:
        return sum(len(self._sets[name]) for name in self.missing)

    def save(self, name: str, logits: np.ndarray) -> None:
        """Save the `logits` of the set `name`, float32 [N, K], reduced to the classes of the study."""
        images = self._sets[name]
        preparation = self.classifier.preparation
        selected = logits if self._columns is None else logits[:, self._columns]
        if images.protocol:
            description = f"{preparation}; {images.protocol}"
        else:
            description = preparation
        predictions = Predictions(
            name, selected, images.labels, tuple(images.keys), self._classes, description, images.accepted
        )
        makers = made_by(predict_sets, *self.classifier.all_makers, *images.decoders)
        save_predictions(self.saved.folders[name], predictions, self._inputs[name], self._weights, makers)


def _columns_to_keep(classifier: OpenClassifier, labels: LabelSpace) -> list[int] | None:
    """Return the columns of the logits for the classes of `labels`. None for all columns in their order."""
    if classifier.classes == labels.label_names:
        return None
    columns = classifier.columns(labels)
    # The same classes may be spelled differently.
    if columns == list(range(len(classifier.classes))):
        return None
    return columns
