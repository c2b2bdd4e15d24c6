"""Classifiers x image sets -> Predictions, kept on disk so that figures are computed again without the classifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genrobust.classifiers.opened import OpenClassifier
from genrobust.classifiers.saved import SavedFile, SavedPredictions, save_predictions, saved_fingerprint
from genrobust.core import (
    ImageSet,
    LabelSpace,
    Predictions,
    digest,
    fetch,
    file_name,
    keep_freed_memory,
    lock,
    make_folder,
    progress_bar,
    remove_leftovers,
    resolve_device,
    set_threads,
)

if TYPE_CHECKING:  # torch takes seconds, and saved predictions are read without it
    import torch
    from torch import nn

FILLED = 0.25  # of a GPU's memory: as much again for the next network, and half for the batch
TOGETHER = 16  # classifiers in memory at once, with their logits of a set; for more, images are decoded again


def predict_sets(
    classifiers: Mapping[Path, OpenClassifier],
    sets: Mapping[str, ImageSet],
    labels: LabelSpace,
    batch_size: int,
    device: str = "auto",
    threads: int | None = None,
) -> dict[Path, SavedPredictions[str]]:
    """Predict every set with every classifier, and save each in the classifier's folder as ``{file_name(name)}.npz``.

    A file that holds the predictions of these weights on these images, prepared in this way, is read instead. An image
    is read and prepared once for all classifiers that want it prepared alike, up to `TOGETHER` of them. Logits are
    those of the classes of `labels` alone, matched by id.

    Args:
        classifiers: Each by the folder of its predictions.
        batch_size: Images at once: it changes rounding alone.

    Returns:
        The predictions by folder and name of the set.

    Raises:
        UserError: A classifier that does not know one of the classes, before any is loaded; an empty set; an image
            that cannot be read.
        GenrobustError: A classifier gives logits that are NaN or infinite.
    """
    kept = {out: KeptPredictions(out, classifier, sets, labels) for out, classifier in classifiers.items()}
    groups: dict[str, list[KeptPredictions]] = {}
    for one in kept.values():
        if one.missing:
            groups.setdefault(one.classifier.prepared, []).append(one)
    with ExitStack() as held:
        for one in sorted(kept.values(), key=lambda one: one.out):
            held.enter_context(one.held())
        if groups:
            where = resolve_device(device)
            if threads is not None:
                set_threads(threads)
            keep_freed_memory(where)
            with progress_bar("evaluating", sum(one.unseen for one in kept.values())) as bar:
                for alike in groups.values():
                    while alike:
                        alike = alike[_predict(alike, sets, batch_size, where, bar.advance) :]
    return {out: one.saved for out, one in kept.items()}


def _predict(
    some: Sequence[KeptPredictions],
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


class KeptPredictions:
    """One classifier's predictions on `sets` in the folder `out`; `missing` are the names of those to be made."""

    def __init__(self, out: Path, classifier: OpenClassifier, sets: Mapping[str, ImageSet], labels: LabelSpace) -> None:
        self.out, self.classifier, self._sets, self._classes = out, classifier, sets, labels.ids
        self._columns = None if classifier.classes == labels.ids else classifier.columns(labels)
        make_folder(out)
        fetch(out, "*.npz")
        weights = classifier.weights if self._columns is None else digest([classifier.weights, self._columns], 64)
        how = classifier.prepared
        self._words = {n: "; ".join(filter(None, [how, getattr(s, "protocol", "")])) for n, s in sets.items()}
        self._wanted = {n: digest([weights, s.fingerprint, labels.ids, self._words[n], n]) for n, s in sets.items()}
        files = {name: out / f"{file_name(name)}.npz" for name in sets}
        self.missing = [n for n, p in files.items() if not p.exists() or saved_fingerprint(p) != self._wanted[n]]
        self.saved = SavedPredictions({name: SavedFile(path, self._wanted[name]) for name, path in files.items()})

    @property
    def unseen(self) -> int:
        """The number of images of the missing sets."""
        return sum(len(self._sets[name]) for name in self.missing)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the folder: exclusively to write, shared to read."""
        with lock(self.out, shared=not self.missing):
            if self.missing:
                remove_leftovers(self.out)
            yield

    def save(self, name: str, logits: np.ndarray) -> None:
        images, words = self._sets[name], self._words[name]
        accepted = getattr(images, "accepted", None)
        chosen = logits if self._columns is None else logits[:, self._columns]
        made = Predictions(name, chosen, images.labels, tuple(images.keys), self._classes, words, accepted)
        save_predictions(self.saved.files[name].path, made, self._wanted[name], images.fingerprint)
