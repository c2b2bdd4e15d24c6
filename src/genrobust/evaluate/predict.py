"""Checkpoint x test sets -> Predictions, kept on disk so that every metric can be computed again without the model."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from genrobust.data import ImageSet, LabelSpace, Predictions, digest, slug
from genrobust.devices import resolve_device, set_threads
from genrobust.errors import GenrobustError, UserError
from genrobust.files import lock, make_folder, remove_leftovers, replacing
from genrobust.models import WEIGHTS, load_checkpoint, predict_logits, protocol, read_checkpoint_info
from genrobust.progress import progress_bar


def predict(
    checkpoint: Path,
    sets: dict[str, ImageSet],
    labels: LabelSpace,
    out: Path,
    batch_size: int = 256,
    device: str = "auto",
    threads: int = 2,
) -> dict[str, Predictions]:
    """Predictions of the classifier in `checkpoint` on every set, one file ``{slug(name)}.npz`` each in `out`.

    A file that holds the predictions of these weights on these images is read instead of made. Raises UserError where
    the checkpoint's classes are not those of `labels`, a set is empty, or an image cannot be read.
    """
    set_threads(threads)
    info = read_checkpoint_info(checkpoint)
    if info.classes != labels.ids:
        raise UserError(
            f"the checkpoint {checkpoint} knows {len(info.classes)} classes, which are not the {len(labels)} of this "
            "data in this order: train it on this data, or evaluate it on its own"
        )

    def load(where: torch.device) -> Callable[[ImageSet, Callable[[int], None]], np.ndarray]:
        model, _ = load_checkpoint(checkpoint, where)
        return lambda images, seen: predict_logits(model, images, info.image_size, batch_size, where, seen)

    weights = hashlib.sha256((checkpoint / WEIGHTS).read_bytes()).hexdigest()
    return kept_predictions(weights, load, info.image_size, sets, labels, out, device)


def kept_predictions(
    weights: str,
    load: Callable[[torch.device], Callable[[ImageSet, Callable[[int], None]], np.ndarray]],
    image_size: int,
    sets: dict[str, ImageSet],
    labels: LabelSpace,
    out: Path,
    device: str,
) -> dict[str, Predictions]:
    """Predictions on every set, those read that are in `out` and the others made, by what `load` returns for a device.

    That maps a set to its logits float32 [N, K], and tells the number of images of each batch; `weights` is the hash of
    all that the logits depend on beside the images.
    """
    make_folder(out)
    done: dict[str, Predictions] = {}
    with lock(out):
        remove_leftovers(out)
        files = {name: out / f"{slug(name)}.npz" for name in sets}
        words = {n: _protocol(image_size, s) for n, s in sets.items()}
        wanted = {n: digest([weights, s.fingerprint, labels.ids, words[n], n]) for n, s in sets.items()}
        missing = [n for n, path in files.items() if not path.exists() or _stored_fingerprint(path) != wanted[n]]
        if missing:
            logits_of = load(resolve_device(device))
            with progress_bar("evaluating", sum(len(sets[n]) for n in missing)) as bar:
                for name in missing:
                    images = sets[name]
                    logits = logits_of(images, bar.advance)
                    accepted = getattr(images, "accepted", None)
                    keys = tuple(images.keys)
                    made = Predictions(name, logits, images.labels, keys, labels.ids, words[name], accepted)
                    save_predictions(files[name], made, wanted[name])
                    done[name] = made
        for name in sets.keys() - done.keys():
            done[name] = load_predictions(files[name])
    return {name: done[name] for name in sets}


def _protocol(image_size: int, images: ImageSet) -> str:
    """How the images are prepared, with what is special about their set."""
    return "; ".join(filter(None, [protocol(image_size), getattr(images, "protocol", "")]))


def save_predictions(path: Path, predictions: Predictions, fingerprint: str = "") -> None:
    """Write `predictions` as an .npz without pickles; the file appears whole or not at all.

    `accepted` becomes an int64 matrix [N, most labels of one image], padded with -1.
    """
    arrays = {
        "fingerprint": np.array(fingerprint),
        "test_set": np.array(predictions.test_set),
        "logits": predictions.logits.astype(np.float32),
        "labels": predictions.labels.astype(np.int64),
        "keys": np.array(predictions.keys),
        "classes": np.array(predictions.classes),
        "protocol": np.array(predictions.protocol),
    }
    if predictions.accepted is not None:
        width = max(map(len, predictions.accepted), default=0)
        padded = [(*row, *[-1] * (width - len(row))) for row in predictions.accepted]
        arrays["accepted"] = np.array(padded, dtype=np.int64).reshape(len(padded), width)
    with replacing(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_predictions(path: Path) -> Predictions:
    """Read what `save_predictions` wrote. Raises UserError where there is no such file or it is no such file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            accepted = file["accepted"].tolist() if "accepted" in file else None
            return Predictions(
                test_set=str(file["test_set"]),
                logits=file["logits"],
                labels=file["labels"],
                keys=tuple(file["keys"].tolist()),
                classes=tuple(file["classes"].tolist()),
                protocol=str(file["protocol"]),
                accepted=None if accepted is None else tuple(tuple(i for i in row if i >= 0) for row in accepted),
            )
    except FileNotFoundError:
        raise UserError(f"no predictions at {path}: evaluate the checkpoint first") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise GenrobustError(f"cannot read the predictions {path}: {error}; delete it and evaluate again") from error


def _stored_fingerprint(path: Path) -> str:
    """The fingerprint in a predictions file, "" where it cannot be read: it is then made again."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return str(file["fingerprint"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return ""
