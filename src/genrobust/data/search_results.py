"""Retrieval by search: the images of a pool without labels that a CLIP finds nearest to each class.

An image counts only for the class with the highest cosine, so a class may get fewer images than wanted. A class is the
mean of its prompts. The nearest images come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genrobust.core import ImageSet, Subset, UserError, digest
from genrobust.data.key_lists import reading_list, write_list
from genrobust.store import Manifest, made_by

# Part of the name of a search. Change it if the rule changes.
SEARCHED_BY = "best class, highest cosine"
_FILE = "found.parquet"
_SCHEMA = pa.schema([("key", pa.string()), ("label", pa.int64()), ("score", pa.float64())])


class FoundImages(Subset):
    """Images of a pool that a search found, with the labels of the classes that they were found for."""

    def __init__(self, pool: ImageSet, keys: Sequence[str], labels: np.ndarray, name: str) -> None:
        place = {key: index for index, key in enumerate(pool.keys)}
        super().__init__(pool, [place[key] for key in keys], name)
        self.hidden_labels = self.labels  # labels in the pool, which may mean nothing
        self.labels = labels
        self.accepted = None
        # The nearest images come first, so a prefix is the best sample.
        self.as_stored = False
        self.even = True
        self.fingerprint = digest([self.fingerprint, self.labels.tolist()])


def best_classes(images: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest class of each image, int64 [N], and the cosine to it, float64 [N].

    Args:
        images: Unit embeddings [N, D].
        classes: Unit embeddings [K, D].
    """
    cosines = images @ classes.T
    best = cosines.argmax(axis=1)
    return best.astype(np.int64), cosines[np.arange(len(best)), best].astype(np.float64)


def nearest_of_classes(best: np.ndarray, cosines: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the nearest images of each class, int64 [M], class by class. Of equal images the first is taken.

    Args:
        best: Nearest class of each image, int64 [N].
        cosines: Cosine to it, float64 [N].
        wanted: Number of images of each class, [K]. A class may get fewer.
    """
    order = np.lexsort((-cosines, best))
    starts = np.searchsorted(best[order], np.arange(len(wanted) + 1))
    ends = np.minimum(starts[:-1] + wanted, starts[1:])
    return np.concatenate([order[start:end] for start, end in zip(starts[:-1], ends, strict=True)])


def write_search(
    folder: Path, inputs: Mapping[str, Any], pool: ImageSet, images: np.ndarray, labels: np.ndarray, scores: np.ndarray
) -> None:
    """Write the result of a search in `pool`: the places `images` [M], with `labels` [M] and `scores` [M].

    The makers of the embeddings that were searched are in the manifests of the embeddings.
    """
    columns = {"key": [pool.keys[i] for i in images.tolist()], "label": labels, "score": scores}
    about = {"pool": pool.fingerprint, "searched": len(pool), "found": len(images)}
    write_list(folder / _FILE, Manifest("search", inputs, about, made_by(write_search)), columns, _SCHEMA)


def read_search(folder: Path, pool: ImageSet, name: str) -> FoundImages:
    """Read the result of a search in `pool`, as a set called `name`."""
    with reading_list(folder / _FILE) as (table, facts):
        keys = table["key"].to_pylist()
        labels = table["label"].to_numpy().astype(np.int64)
        searched = facts["pool"]
    if pool.fingerprint != searched:
        raise UserError(f"{folder} is a search of other images than those of {pool.name}: delete it and rerun")
    return FoundImages(pool, keys, labels, name)
