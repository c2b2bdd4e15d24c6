"""Checkpoint x test sets -> Predictions, kept on disk so that every metric can be computed again without the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genrobust.classifiers.checkpoints import WEIGHTS, read_checkpoint_info
from genrobust.classifiers.preprocess import protocol
from genrobust.classifiers.saved import SavedPredictions, save_predictions, saved_fingerprint
from genrobust.core import (
    ImageSet,
    LabelSpace,
    Predictions,
    UserError,
    digest,
    fetch,
    hash_file,
    keep_freed_memory,
    lock,
    make_folder,
    progress_bar,
    remove_leftovers,
    resolve_device,
    set_threads,
    slug,
)
from genrobust.recipe import EvaluateConfig

if TYPE_CHECKING:  # torch takes seconds, and what is saved is read without it
    import torch

    from genrobust.classifiers.models import Classifier

SINGLE_CROP = EvaluateConfig()
TOGETHER = 16  # classifiers in memory at once, with their logits of a set; for more, images are decoded again
Logits = Callable[[ImageSet, Callable[[int], None]], np.ndarray]  # of a set, telling the number of images of each batch


def predict(
    checkpoint: Path,
    sets: dict[str, ImageSet],
    labels: LabelSpace,
    out: Path,
    settings: EvaluateConfig = SINGLE_CROP,
    device: str = "auto",
    threads: int = 2,
) -> SavedPredictions[str]:
    """Predictions of the classifier in `checkpoint` on every set, one file ``{slug(name)}.npz`` each in `out`.

    A file that holds the predictions of these weights on these images, prepared as `settings` say, is read instead of
    made. Raises UserError where the checkpoint's classes are not those of `labels`, its network takes no images of the
    size that `settings` ask for, a set is empty, or an image cannot be read.
    """
    return predict_all({checkpoint: out}, sets, labels, settings, device, threads)[checkpoint]


def predict_all(
    checkpoints: Mapping[Path, Path],
    sets: dict[str, ImageSet],
    labels: LabelSpace,
    settings: EvaluateConfig = SINGLE_CROP,
    device: str = "auto",
    threads: int = 2,
) -> dict[Path, SavedPredictions[str]]:
    """`predict` for many: each checkpoint with the folder of its predictions. The logits are those of `predict`.

    An image is read and prepared once for all classifiers of one image size, up to `TOGETHER` of them.
    """
    kept, of_size = {}, dict[int, list[Path]]()
    for checkpoint, out in checkpoints.items():
        info = read_checkpoint_info(checkpoint)
        if info.classes != labels.ids:
            raise UserError(
                f"the checkpoint {checkpoint} knows {len(info.classes)} classes, which are not the {len(labels)} of "
                "this data in this order: train it on this data, or evaluate it on its own"
            )
        size = settings.image_size or info.image_size
        words = protocol(size, settings.crop_pct, settings.flip)
        kept[checkpoint] = _Kept(hash_file(checkpoint / WEIGHTS), words, sets, labels, out)
        if kept[checkpoint].missing:
            of_size.setdefault(size, []).append(checkpoint)
    with ExitStack() as held:
        for one in sorted(kept.values(), key=lambda one: one.out):
            held.enter_context(one.held())
        if of_size:
            where = resolve_device(device)
            set_threads(threads)
            keep_freed_memory()
            with progress_bar("evaluating", sum(one.unseen for one in kept.values())) as bar:
                for size, alike in of_size.items():
                    for start in range(0, len(alike), TOGETHER):
                        some = {checkpoint: kept[checkpoint] for checkpoint in alike[start : start + TOGETHER]}
                        _predict_some(some, sets, settings, size, where, bar.advance)
    return {checkpoint: one.saved for checkpoint, one in kept.items()}


def _predict_some(
    kept: Mapping[Path, _Kept],
    sets: dict[str, ImageSet],
    settings: EvaluateConfig,
    size: int,
    where: torch.device,
    seen: Callable[[int], None],
) -> None:
    """Make what is missing of the predictions of checkpoints, set by set, each image decoded once."""
    from genrobust.classifiers.models import predict_together

    models = {checkpoint: _loaded(checkpoint, settings, where)[0] for checkpoint in kept}
    how = settings.batch_size, where, seen, settings.crop_pct, settings.flip
    for name, images in sets.items():
        asked = [checkpoint for checkpoint, one in kept.items() if name in one.missing]
        if asked:
            found = predict_together([models[c] for c in asked], images, size, *how)
            for checkpoint, logits in zip(asked, found, strict=True):
                kept[checkpoint].save(name, logits)


def checkpoint_logits(checkpoint: Path, settings: EvaluateConfig, where: torch.device) -> Logits:
    """What the classifier in `checkpoint` answers to images that are prepared as `settings` say, on a device.

    Raises UserError where its network takes no images of the size that they ask for.
    """
    from genrobust.classifiers.models import predict_logits

    model, size = _loaded(checkpoint, settings, where)
    return lambda images, seen: predict_logits(
        model, images, size, settings.batch_size, where, seen, settings.crop_pct, settings.flip
    )


def _loaded(checkpoint: Path, settings: EvaluateConfig, where: torch.device) -> tuple[Classifier, int]:
    """The classifier in `checkpoint`, and the size of the images that it is asked about."""
    from genrobust.classifiers.architectures import has_fixed_size
    from genrobust.classifiers.models import load_checkpoint

    info = read_checkpoint_info(checkpoint)
    size = settings.image_size or info.image_size
    if size != info.image_size and has_fixed_size(info.architecture):
        raise UserError(
            f"evaluate.image_size: {info.architecture} takes images of the {info.image_size} px that it was "
            f"trained on alone, not of {size}: leave the key out"
        )
    return load_checkpoint(checkpoint, where)[0], size


def kept_predictions(
    weights: str,
    load: Callable[[torch.device], Logits],
    prepared: str,
    sets: dict[str, ImageSet],
    labels: LabelSpace,
    out: Path,
    device: str,
) -> SavedPredictions[str]:
    """Predictions on every set, those read that are in `out` and the others made, by what `load` returns for a device.

    That maps a set to its logits float32 [N, K], and tells the number of images of each batch; `weights` is the hash of
    all that the logits depend on beside the images, and `prepared` says in words how those are prepared.
    """
    kept = _Kept(weights, prepared, sets, labels, out)
    with kept.held():
        if kept.missing:
            logits_of = load(resolve_device(device))
            with progress_bar("evaluating", kept.unseen) as bar:
                for name in kept.missing:
                    kept.save(name, logits_of(sets[name], bar.advance))
    return kept.saved


class _Kept:
    """One model's predictions on `sets` in the folder `out`: those that are there, and `missing`, the names of others.

    `weights` and `prepared` are as in `kept_predictions`.
    """

    def __init__(self, weights: str, prepared: str, sets: dict[str, ImageSet], labels: LabelSpace, out: Path) -> None:
        make_folder(out)
        fetch(out, "*.npz")
        self.out, self._sets, self._classes = out, sets, labels.ids
        self._words = {n: "; ".join(filter(None, [prepared, getattr(s, "protocol", "")])) for n, s in sets.items()}
        words = self._words
        self._wanted = {n: digest([weights, s.fingerprint, labels.ids, words[n], n]) for n, s in sets.items()}
        files = {name: out / f"{slug(name)}.npz" for name in sets}
        self.missing = [n for n, p in files.items() if not p.exists() or saved_fingerprint(p) != self._wanted[n]]
        self.saved = SavedPredictions(files)

    @property
    def unseen(self) -> int:
        """The number of images of the missing sets."""
        return sum(len(self._sets[name]) for name in self.missing)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder: alone where something is to be written; what is finished may be read by many at once."""
        with lock(self.out, shared=not self.missing):
            if self.missing:
                remove_leftovers(self.out)
            yield

    def save(self, name: str, logits: np.ndarray) -> None:
        """Write the logits of a set."""
        images, words = self._sets[name], self._words[name]
        accepted = getattr(images, "accepted", None)
        made = Predictions(name, logits, images.labels, tuple(images.keys), self._classes, words, accepted)
        save_predictions(self.saved.files[name], made, self._wanted[name])
