"""Predictions on disk: .npz files without pickles, whose logits are mapped into memory."""

from __future__ import annotations

import logging
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from genrobust.core import GenrobustError, Predictions, UserError, load_arrays, reading, save_arrays

Key = TypeVar("Key")
log = logging.getLogger(__name__)


class SavedFile(NamedTuple):
    """A predictions file, and the fingerprint that it has unless another run replaces it; "" for any."""

    path: Path
    fingerprint: str = ""


class SavedPredictions(Mapping[Key, Predictions], Generic[Key]):
    """The predictions in `files`, read at each access: those of a study may be larger than memory."""

    def __init__(self, files: Mapping[Key, SavedFile]) -> None:
        self.files = dict(files)

    def __getitem__(self, key: Key) -> Predictions:
        return load_predictions(*self.files[key])

    def __contains__(self, key: object) -> bool:
        return key in self.files

    def __iter__(self) -> Iterator[Key]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def save_predictions(path: Path, predictions: Predictions, fingerprint: str = "", images: str = "") -> None:
    """Write `predictions` as an .npz without pickles; the file appears whole or not at all.

    `fingerprint` is that of all that they depend on, `images` that of the test set alone.

    `accepted` becomes an int64 matrix [N, most labels of one image], padded with -1. Nothing is compressed: random
    mantissas do not shrink, and what lies there plain can be mapped. The logits come first, where they are aligned.
    """
    arrays = {
        "logits": np.ascontiguousarray(predictions.logits, dtype=np.float32),
        "fingerprint": np.array(fingerprint),
        "images": np.array(images),
        "test_set": np.array(predictions.test_set),
        "labels": predictions.labels.astype(np.int64),
        "keys": np.array(predictions.keys),
        "classes": np.array(predictions.classes),
        "protocol": np.array(predictions.protocol),
    }
    if predictions.accepted is not None:
        width = max(map(len, predictions.accepted), default=0)
        padded = [(*row, *[-1] * (width - len(row))) for row in predictions.accepted]
        arrays["accepted"] = np.array(padded, dtype=np.int64).reshape(len(padded), width)
    save_arrays(path, arrays)


def load_predictions(path: Path, fingerprint: str = "") -> Predictions:
    """Read what `save_predictions` wrote; the logits are mapped, so that they are read where and when they are used.

    Raises:
        UserError: There is no such file, or it has another fingerprint than the given one.
        GenrobustError: It is damaged.
    """
    if not path.exists():
        raise UserError(f"no predictions at {path}: evaluate the checkpoint first")
    what, then = f"the predictions {path}", "; delete it and evaluate again"
    with reading(what, ValueError, KeyError, then=then, kind=GenrobustError), load_arrays(path) as file:
        if fingerprint not in ("", str(file["fingerprint"])):
            raise UserError(
                f"{what} were replaced meanwhile, by a run that has other test images of this name: run this again, "
                "and give the other run another --out"
            )
        accepted = file["accepted"].tolist() if "accepted" in file else None
        return Predictions(
            test_set=str(file["test_set"]),
            logits=_logits(path),
            labels=file["labels"],
            keys=tuple(file["keys"].tolist()),
            classes=tuple(file["classes"].tolist()),
            protocol=str(file["protocol"]),
            accepted=None if accepted is None else tuple(tuple(i for i in row if i >= 0) for row in accepted),
        )


def saved_fingerprint(path: Path) -> str:
    """Return the fingerprint in a predictions file, "" where it is damaged, which is logged."""
    try:
        with load_arrays(path) as file:
            return str(file["fingerprint"])
    except (OSError, ValueError, KeyError) as error:
        log.warning("cannot read the predictions %s: %s; they are made again", path, error)
        return ""


def are_of(path: Path, images: str) -> bool:
    """Return whether the predictions in `path`, if there are any, are of the test set with the fingerprint `images`.

    Its checksum is not compared. A file of an earlier version, which does not know its images, counts until it is used.
    """
    with suppress(OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile), np.load(path) as file:
        return "images" not in file or str(file["images"]) in ("", images)
    return False


def _logits(path: Path) -> np.ndarray:
    """The logits in the file `path`, mapped."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("logits.npy")
    with path.open("rb") as raw:
        raw.seek(member.header_offset + 26)  # a header of 30 bytes, then a name and an extra field of these lengths
        raw.seek(sum(struct.unpack("<HH", raw.read(4))), os.SEEK_CUR)
        np.lib.format.read_magic(raw)
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(raw)
        return np.memmap(raw, dtype, "r", raw.tell(), shape, "F" if by_columns else "C")
