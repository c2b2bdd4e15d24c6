"""Retrieval by search: the images of a pool without labels that a CLIP finds nearest to each class.

An image counts for the class with the highest cosine alone, so a class may get fewer images than are wanted. First come
those nearest to the mean of a class's prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genrobust.core import ImageSet, Manifest, Subset, UserError, digest, made_by
from genrobust.data.image_lists import reading_list, write_list

SEARCHED_BY = "best class, highest cosine"  # in the name of a search: another rule is another search
_FILE = "found.parquet"
_SCHEMA = pa.schema([("key", pa.string()), ("label", pa.int64()), ("score", pa.float64())])


class FoundImages(Subset):
    """The images `keys` of a pool, which a search found, with the labels of the classes that they were found for."""

    def __init__(self, pool: ImageSet, keys: Sequence[str], labels: np.ndarray, name: str) -> None:
        place = {key: index for index, key in enumerate(pool.keys)}
        super().__init__(pool, [place[key] for key in keys], name)
        self.hidden_labels = self.labels  # those of the pool, which may mean nothing
        self.labels = labels
        self.accepted = None
        self.as_stored, self.even = False, True  # the nearest come first, whatever their styles in the pool
        self.fingerprint = digest([self.fingerprint, self.labels.tolist()])


def best_classes(images: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest class of each image, int64 [N], and its cosine, float64 [N].

    Args:
        images: Unit embeddings [N, D].
        classes: Unit embeddings [K, D].
    """
    cosines = images @ classes.T
    best = cosines.argmax(axis=1)
    return best.astype(np.int64), cosines[np.arange(len(best)), best].astype(np.float64)


def nearest_of_classes(best: np.ndarray, cosines: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the nearest images of each class, int64 [M], class by class, of equal ones the first.

    Args:
        best: The class of each image, int64 [N], with its `cosines`, float64 [N].
        wanted: How many of each class, [K]; a class may have fewer.
    """
    order = np.lexsort((-cosines, best))
    starts = np.searchsorted(best[order], np.arange(len(wanted) + 1))
    ends = np.minimum(starts[:-1] + wanted, starts[1:])
    return np.concatenate([order[start:end] for start, end in zip(starts[:-1], ends, strict=True)])


def write_search(
    folder: Path, inputs: Mapping[str, Any], pool: ImageSet, images: np.ndarray, labels: np.ndarray, scores: np.ndarray
) -> None:
    """Write what a search found in `pool`: its `images` [M], with `labels` [M] and `scores` [M]."""
    columns = {"key": [pool.keys[i] for i in images.tolist()], "label": labels, "score": scores}
    about = {"pool": pool.fingerprint, "searched": len(pool), "found": len(images)}
    write_list(folder / _FILE, Manifest("search", inputs, about, made_by("search")), columns, _SCHEMA)


def read_search(folder: Path, pool: ImageSet, name: str) -> FoundImages:
    """Read what a search found in `pool`, as a set called `name`.

    Raises:
        UserError: There is no such search, or it is of other images.
        GenrobustError: The search is damaged.
    """
    with reading_list(folder / _FILE) as (table, facts):
        keys, labels, searched = table["key"].to_pylist(), table["label"].to_numpy().astype(np.int64), facts["pool"]
    if pool.fingerprint != searched:
        raise UserError(f"{folder} is a search of other images than those of {pool.name}: delete it and rerun")
    return FoundImages(pool, keys, labels, name)
