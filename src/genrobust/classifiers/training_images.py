"""The record of the images that a classifier trained on: hashes of their files, saved next to the weights. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from genrobust.core import GenrobustError, parse_json, reading
from genrobust.store import Artifact, replacing

TRAINING_IMAGES = "training-images.safetensors"
HASH_BYTES = 8  # of a SHA-256: 1.3 million images take 10 MB, and two of them are equal by chance once in 10**7 times
# The only key of the metadata: safetensors writes several in an order that differs between processes.
_RECORD = "record"


@dataclass(frozen=True, slots=True)
class TrainingImages:
    """The images that a classifier trained on.

    Attributes:
        study: The study that trained it.
        hashes: `shorten` of each image of a source, uint64 [N] ascending. A source is named as in "real of STUDY".
        unknown: Sources without files to hash, and pretrained networks whose training images are not recorded.
    """

    study: str
    hashes: Mapping[str, np.ndarray]
    unknown: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        record = {"study": self.study, "unknown": self.unknown}
        with replacing(folder / TRAINING_IMAGES) as file:
            file.write(save(dict(self.hashes), {_RECORD: json.dumps(record)}))


def read_training_images(folder: Path) -> TrainingImages | None:
    """Read the record in `folder`: a checkpoint, or an exported classifier.

    None if there is none: other programs and older versions write none.
    """
    path = folder / TRAINING_IMAGES
    artifact = Artifact(folder)
    if artifact.is_finished and not artifact.is_foreign:
        if TRAINING_IMAGES not in artifact.manifest().files:
            return None
        artifact.path(TRAINING_IMAGES)  # fetches it from a URL, and compares it with the manifest
    elif not path.is_file():
        return None
    then = ": remove it, and the training images are unknown"
    with (
        reading(path, SafetensorError, KeyError, TypeError, ValueError, then=then, kind=GenrobustError),
        safe_open(path, "numpy") as file,
    ):
        record = parse_json(file.metadata()[_RECORD].encode())
        study = str(record["study"])
        unknown = tuple(map(str, record["unknown"]))
        hashes = {source: file.get_tensor(source) for source in file.keys()}  # noqa: SIM118  # no mapping
        if any(of.dtype != np.uint64 or of.ndim != 1 for of in hashes.values()):
            raise ValueError("it holds no hashes")
    return TrainingImages(study, hashes, unknown)


def find_training_images(spec: str) -> TrainingImages | None:
    """Read the record of the classifier that `spec` names, as for `open_classifier`. None if there is none."""
    _, _, file = spec.rpartition("@")
    path = Path(spec if Path(spec).exists() else file)
    return read_training_images(path.parent if path.is_file() else path)


def shorten(contents: np.ndarray) -> np.ndarray:
    """Return the first bytes of each SHA-256 in `contents`, uint8 [N, 32], as numbers: uint64 [N]."""
    return np.ascontiguousarray(contents[:, :HASH_BYTES]).view("<u8").ravel().astype(np.uint64)
