"""Filters: lists of the images of a dataset that are left out, with reasons.

A filter does not change the shards. It is an artifact of its own, with a row per rejected image. Its manifest names the
rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genrobust.core import GenrobustError, ImageSet, UserError
from genrobust.data.key_lists import reading_list, write_list
from genrobust.data.reviews import Review
from genrobust.data.shards import ShardDataset
from genrobust.recipe import count_dropped
from genrobust.store import Manifest, made_by

_FILE = "rejected.parquet"
_SCHEMA = pa.schema([("key", pa.string()), ("label", pa.int64()), ("score", pa.float64()), ("reason", pa.string())])


@dataclass(frozen=True, slots=True)
class FilterResult:
    """A filter of a dataset of `made` images, which keeps `kept` images.

    Attributes:
        by: Name of the score that decides.
        fingerprint: Fingerprint of the dataset.
        rejected: Reason for each rejected image, by key.
    """

    folder: Path
    by: str
    made: int
    kept: int
    fingerprint: str
    rejected: dict[str, str]


def lowest_of_each_class(scores: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray:
    """Return which images are among the lowest `share` of `scores` [N] of their class, bool [N].

    The number is rounded down, so no class becomes empty. Of equal scores, the later image goes first.

    Args:
        labels: Int [N].
        share: Between 0 and 1.
    """
    is_lowest = np.zeros(len(scores), dtype=bool)
    for label in np.unique(labels):
        in_class = np.flatnonzero(labels == label)
        order = in_class[np.lexsort((-in_class, scores[in_class]))]
        count = count_dropped(share, len(in_class))
        is_lowest[order[:count]] = True
    return is_lowest


def below(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return which images score below `threshold`, bool [N]. NaN counts as below."""
    is_below = ~(scores >= threshold)
    if is_below.all():
        raise UserError(f"every image scores below {threshold:g} (the highest: {scores.max():g}): lower threshold")
    return is_below


def write_filter(
    images: ImageSet, scores: np.ndarray, rejected: np.ndarray, folder: Path, manifest: Manifest
) -> FilterResult:
    """Write the filter of `images` with `scores`, float [N], that leaves out `rejected`, bool [N].

    Args:
        manifest: The manifest of the filter. Its facts name the score ("by") and why images are rejected ("rule").
    """
    by = manifest.about["by"]
    lost = np.flatnonzero(~np.isfinite(scores)).tolist()
    if lost:
        problem = f"the {by} of {len(lost)} of {len(images)} images is no number, such as {images.keys[lost[0]]}"
        raise GenrobustError(f"{problem}: check the weights of the judging model")
    indices = np.flatnonzero(rejected)
    reasons = [f"{by} {score:.4f}: {manifest.about['rule']}" for score in scores[indices]]
    return _write(images, indices, scores[indices], reasons, folder, manifest)


def write_reviewed(images: ShardDataset, review: Review, folder: Path, inputs: Mapping[str, Any]) -> FilterResult:
    """Write the filter of `images` that leaves out the images that a review rejects."""
    review.check(images)
    if len(review.rejected) == len(images):
        raise UserError(f"{review.file} rejects every image of {images.folder}: accept some with genrobust view")
    indices = np.array([i for i, key in enumerate(images.keys) if key in review.rejected], dtype=np.int64)
    reasons = [review.rejected[images.keys[i]] for i in indices]
    no_scores = np.full(len(indices), np.nan)
    manifest = Manifest("filter", inputs, {"by": "review", "rule": "rejected by a person"}, made_by(write_reviewed))
    return _write(images, indices, no_scores, reasons, folder, manifest)


def _write(
    images: ImageSet, indices: np.ndarray, scores: np.ndarray, reasons: Sequence[str], folder: Path, manifest: Manifest
) -> FilterResult:
    """Write the filter that leaves out the images at `indices`, int64 [M], with a score and a reason for each."""
    keys = [images.keys[i] for i in indices]
    columns = {"key": keys, "label": images.labels[indices], "score": scores, "reason": reasons}
    counts = {"made": len(images), "kept": len(images) - len(indices), "dataset": images.fingerprint}
    write_list(folder / _FILE, replace(manifest, about={**manifest.about, **counts}), columns, _SCHEMA)
    return read_filter(folder)


def read_filter(folder: Path) -> FilterResult:
    """Read a filter."""
    with reading_list(folder / _FILE) as (table, facts):
        return FilterResult(
            folder=folder,
            by=str(facts["by"]),
            made=int(facts["made"]),
            kept=int(facts["kept"]),
            fingerprint=str(facts["dataset"]),
            rejected=dict(zip(table["key"].to_pylist(), table["reason"].to_pylist(), strict=True)),
        )


def kept_indices(images: ImageSet, filter: FilterResult) -> np.ndarray:
    """Return the indices of the images that `filter` keeps, int64 and ascending."""
    if images.fingerprint != filter.fingerprint:
        raise UserError(f"{filter.folder} was made for other images than those of {images.name}: filter them again")
    return np.array([i for i, key in enumerate(images.keys) if key not in filter.rejected], dtype=np.int64)
