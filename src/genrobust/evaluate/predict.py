"""Checkpoint x test sets -> Predictions, kept on disk so that every metric can be computed again without the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genrobust.checkpoints import WEIGHTS, read_checkpoint_info
from genrobust.config import EvaluateConfig
from genrobust.data import ImageSet, LabelSpace, Predictions, digest, slug
from genrobust.devices import resolve_device, set_threads
from genrobust.errors import UserError
from genrobust.evaluate.saved import SavedPredictions, save_predictions, saved_fingerprint
from genrobust.files import lock, make_folder, remove_leftovers
from genrobust.hashing import hash_file
from genrobust.preparing import protocol
from genrobust.progress import progress_bar

if TYPE_CHECKING:  # torch takes seconds, and what is saved is read without it
    import torch

SINGLE_CROP = EvaluateConfig()
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
    info = read_checkpoint_info(checkpoint)
    if info.classes != labels.ids:
        raise UserError(
            f"the checkpoint {checkpoint} knows {len(info.classes)} classes, which are not the {len(labels)} of this "
            "data in this order: train it on this data, or evaluate it on its own"
        )

    def load(where: torch.device) -> Logits:
        set_threads(threads)
        return checkpoint_logits(checkpoint, settings, where)

    weights = hash_file(checkpoint / WEIGHTS)
    words = protocol(settings.image_size or info.image_size, settings.crop_pct, settings.flip)
    return kept_predictions(weights, load, words, sets, labels, out, device)


def checkpoint_logits(checkpoint: Path, settings: EvaluateConfig, where: torch.device) -> Logits:
    """What the classifier in `checkpoint` answers to images that are prepared as `settings` say, on a device.

    Raises UserError where its network takes no images of the size that they ask for.
    """
    from genrobust.architectures import has_fixed_size
    from genrobust.models import load_checkpoint, predict_logits

    info = read_checkpoint_info(checkpoint)
    size = settings.image_size or info.image_size
    if size != info.image_size and has_fixed_size(info.architecture):
        raise UserError(
            f"evaluate.image_size: {info.architecture} takes images of the {info.image_size} px that it was "
            f"trained on alone, not of {size}: leave the key out"
        )
    model, _ = load_checkpoint(checkpoint, where)
    return lambda images, seen: predict_logits(
        model, images, size, settings.batch_size, where, seen, settings.crop_pct, settings.flip
    )


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
    make_folder(out)
    files = {name: out / f"{slug(name)}.npz" for name in sets}
    words = {n: "; ".join(filter(None, [prepared, getattr(s, "protocol", "")])) for n, s in sets.items()}
    wanted = {n: digest([weights, s.fingerprint, labels.ids, words[n], n]) for n, s in sets.items()}
    missing = [n for n, path in files.items() if not path.exists() or saved_fingerprint(path) != wanted[n]]
    with lock(out, shared=not missing):  # what is finished may be read by many at once
        if missing:
            remove_leftovers(out)
            logits_of = load(resolve_device(device))
            with progress_bar("evaluating", sum(len(sets[n]) for n in missing)) as bar:
                for name in missing:
                    images = sets[name]
                    logits = logits_of(images, bar.advance)
                    accepted = getattr(images, "accepted", None)
                    keys = tuple(images.keys)
                    made = Predictions(name, logits, images.labels, keys, labels.ids, words[name], accepted)
                    save_predictions(files[name], made, wanted[name])
    return SavedPredictions(files)
