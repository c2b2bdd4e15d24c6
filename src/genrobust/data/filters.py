"""Filters: lists of the images of a dataset that are left out, with reasons.

The shards stay as they are. A filter is an artifact of its own, with a row a rejected image; its manifest says by what
rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genrobust.core import (
    GenrobustError,
    ImageSet,
    Manifest,
    UserError,
    made_by,
)
from genrobust.data.image_lists import reading_list, write_list
from genrobust.data.reviews import Review
from genrobust.data.shards import ShardDataset

_FILE = "rejected.parquet"
_SCHEMA = pa.schema([("key", pa.string()), ("label", pa.int64()), ("score", pa.float64()), ("reason", pa.string())])


@dataclass(frozen=True, slots=True)
class FilterResult:
    """The images of a dataset that are left out: of `made` images, `kept` are kept.

    `by` names the score that decides; `fingerprint` is the dataset's; `rejected` maps a key to its reason.
    """

    folder: Path
    by: str
    made: int
    kept: int
    fingerprint: str
    rejected: dict[str, str]


def lowest_of_each_class(scores: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray:
    """Find the images, bool [N], among the lowest `share`, between 0 and 1, of `scores` [N] of their class.

    Rounded down, so that a class is never emptied; of equal scores the later image goes first.
    """
    out = np.zeros(len(scores), dtype=bool)
    for label in np.unique(labels):
        in_class = np.flatnonzero(labels == label)
        order = in_class[np.lexsort((-in_class, scores[in_class]))]
        out[order[: int(share * len(in_class) + 1e-9)]] = True
    return out


def below(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Find the images, bool [N], that score below `threshold`.

    Raises:
        UserError: Every image scores below it.
    """
    out = ~(scores >= threshold)  # which NaN is not
    if out.all():
        raise UserError(f"every image scores below {threshold:g} (the highest: {scores.max():g}): lower threshold")
    return out


def write_filter(
    images: ImageSet,
    by: str,
    scores: np.ndarray,
    rejected: np.ndarray,
    rule: str,
    place: Path,
    inputs: Mapping[str, Any],
) -> FilterResult:
    """Write the filter of `images` that leaves out `rejected`, bool [N].

    Args:
        by: The name of the score.
        rule: Says in words why an image is rejected.
        place: The folder of the filter, which is named after its `inputs`.

    Raises:
        GenrobustError: A score is no number.
    """
    if lost := np.flatnonzero(~np.isfinite(scores)).tolist():
        raise GenrobustError(
            f"the {by} of {len(lost)} of {len(images)} images is no number, such as that of {images.keys[lost[0]]} "
            f"({scores[lost[0]]}): check the weights of the judging model, and filter again"
        )
    out = np.flatnonzero(rejected)
    reasons = [f"{by} {score:.4f}: {rule}" for score in scores[out]]
    return _write(images, by, rule, out, scores[out], reasons, place, inputs)


def write_reviewed(images: ShardDataset, review: Review, place: Path, inputs: Mapping[str, Any]) -> FilterResult:
    """Write the filter of `images` that leaves out what a review rejects; `place` and `inputs` as for `write_filter`.

    Raises:
        UserError: The review is of other images, or rejects all of them.
    """
    review.check(images)
    if len(review.rejected) == len(images):
        raise UserError(f"{review.file} rejects every image of {images.folder}: accept some with genrobust view")
    out = np.array([i for i, key in enumerate(images.keys) if key in review.rejected], dtype=np.int64)
    reasons = [review.rejected[images.keys[i]] for i in out]
    return _write(images, "review", "rejected by a person", out, np.full(len(out), np.nan), reasons, place, inputs)


def _write(
    images: ImageSet,
    by: str,
    rule: str,
    out: np.ndarray,
    scores: np.ndarray,
    reasons: Sequence[str],
    place: Path,
    inputs: Mapping[str, Any],
) -> FilterResult:
    """Write what leaves out the images at the indices `out`, int64 [M], with their scores and reasons."""
    keys = [images.keys[i] for i in out]
    columns = dict(zip(_SCHEMA.names, (keys, images.labels[out], scores, reasons), strict=True))
    about = {"by": by, "rule": rule, "made": len(images), "kept": len(images) - len(out), "dataset": images.fingerprint}
    write_list(place / _FILE, Manifest("filter", inputs, about, made_by("filter")), columns, _SCHEMA)
    return read_filter(place)


def read_filter(folder: Path) -> FilterResult:
    """Read a filter.

    Raises:
        UserError: There is no such filter.
        GenrobustError: The filter is damaged.
    """
    with reading_list(folder / _FILE) as (table, facts):
        rejected = dict(zip(table["key"].to_pylist(), table["reason"].to_pylist(), strict=True))
        return FilterResult(
            folder, str(facts["by"]), int(facts["made"]), int(facts["kept"]), str(facts["dataset"]), rejected
        )


def kept_indices(images: ImageSet, filter: FilterResult) -> np.ndarray:
    """Find the indices, int64 and ascending, that `filter` keeps.

    Raises:
        UserError: The filter is of other images.
    """
    if images.fingerprint != filter.fingerprint:
        raise UserError(f"{filter.folder} was made for other images than those of {images.name}: filter them again")
    return np.array([i for i, key in enumerate(images.keys) if key not in filter.rejected], dtype=np.int64)
