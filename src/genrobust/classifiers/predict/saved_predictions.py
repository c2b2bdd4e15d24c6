"""Predictions on disk: .npz files without pickles, whose logits are mapped into memory."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from genrobust.core import GenrobustError, ImageSet, LabelSpace, Predictions, UserError, digest, reading
from genrobust.store import Artifact, Manifest, artifact_folder, replacing

PREDICTIONS = "predictions"  # the kind of the artifact
FILE = "predictions.npz"
Key = TypeVar("Key")


class PredictedBy(NamedTuple):
    """The name of predictions: a readable word for the classifier, and a hash of everything that decides its logits.

    For a classifier that is not trained yet, the inputs of its training decide the weights.
    """

    word: str
    identity: str


class SavedPredictions(Mapping[Key, Predictions]):
    """The predictions in `folders`, read at each access: the predictions of a study may be larger than memory."""

    def __init__(self, folders: Mapping[Key, Path]) -> None:
        self.folders = dict(folders)

    def __getitem__(self, key: Key) -> Predictions:
        return load_predictions(self.folders[key])

    def __contains__(self, key: object) -> bool:
        return key in self.folders

    def __iter__(self) -> Iterator[Key]:
        return iter(self.folders)

    def __len__(self) -> int:
        return len(self.folders)


def prediction_inputs(predicted_by: PredictedBy, test_set: str, images: ImageSet, labels: LabelSpace) -> dict[str, Any]:
    """Return the inputs of the predictions by a classifier on `images`, which are called `test_set`."""
    return {
        "classifier": predicted_by.identity,
        "test_set": test_set,
        "images": images.fingerprint,
        "protocol": images.protocol,
        "classes": digest(labels.ids),
    }


def prediction_folder(folder: Path, predicted_by: PredictedBy, inputs: Mapping[str, Any]) -> Path:
    """Return the folder in `folder` for the predictions with these `inputs`."""
    return artifact_folder(folder, f"{predicted_by.word} {inputs['test_set']}", inputs)


def are_saved(folder: Path, weights: str) -> bool:
    """Return whether `folder` holds predictions by a classifier with the hash `weights`.

    A classifier that was trained again may have other weights under the same name.
    """
    artifact = Artifact(folder)
    return artifact.is_finished and artifact.manifest().about.get("weights") == weights


def save_predictions(
    folder: Path,
    predictions: Predictions,
    inputs: Mapping[str, Any] | None = None,
    weights: str = "",
    makers: Mapping[str, Any] | None = None,
) -> None:
    """Save predictions by a classifier with the hash `weights` in `folder`, which is named after `inputs`.

    `accepted` becomes an int64 matrix [N, most labels of one image], padded with -1. Nothing is compressed: random
    mantissas do not shrink, and plain bytes can be mapped. The logits come first, where they are aligned.
    """
    arrays = {
        "logits": np.ascontiguousarray(predictions.logits, dtype=np.float32),
        "test_set": np.array(predictions.test_set),
        "labels": predictions.labels,
        "keys": np.array(predictions.keys),
        "classes": np.array(predictions.classes),
        "protocol": np.array(predictions.protocol),
    }
    if predictions.accepted is not None:
        width = max(map(len, predictions.accepted), default=0)
        padded = np.full((len(predictions.accepted), width), -1, dtype=np.int64)
        for row, accepted in zip(padded, predictions.accepted, strict=True):
            row[: len(accepted)] = accepted
        arrays["accepted"] = padded
    manifest = Manifest(PREDICTIONS, inputs or {}, {"weights": weights}, makers or {})
    with Artifact(folder).writing(manifest, FILE), replacing(folder / FILE) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_predictions(folder: Path) -> Predictions:
    """Load saved predictions. Logits are mapped: they are read when they are used."""
    artifact = Artifact(folder)
    if not artifact.is_finished:
        raise UserError(f"no predictions in {folder}: evaluate the checkpoint first")
    path = artifact.path(FILE)
    with reading(path, ValueError, KeyError, kind=GenrobustError), np.load(path, allow_pickle=False) as file:
        accepted = None
        if "accepted" in file:
            accepted = tuple(tuple(row[row >= 0].tolist()) for row in file["accepted"])
        return Predictions(
            test_set=str(file["test_set"]),
            logits=_map_logits(path),
            labels=file["labels"],
            keys=tuple(file["keys"].tolist()),
            classes=tuple(file["classes"].tolist()),
            protocol=str(file["protocol"]),
            accepted=accepted,
        )


def _map_logits(path: Path) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("logits.npy")
    with path.open("rb") as raw:
        # A header of 30 bytes ends in the lengths of the name and of the extra field that follow it.
        raw.seek(member.header_offset + 26)
        raw.seek(sum(struct.unpack("<HH", raw.read(4))), os.SEEK_CUR)
        np.lib.format.read_magic(raw)
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(raw)
        return np.memmap(raw, dtype, "r", raw.tell(), shape, "F" if by_columns else "C")
