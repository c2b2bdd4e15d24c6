"""Filters: lists of the images of a dataset that are left out, with reasons.

The shards stay as they are. Beside them lies ``filter-<digest>.parquet`` with a row a rejected image; its metadata hold
the rule and a hash of all that the file says. The digest is of the dataset and the rule, so the same filter is the
same file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from genrobust.core import ANY_DIGEST, Filter, GenrobustError, ImageSet, Subset, UserError, digest, reading
from genrobust.data.sealed_tables import DAMAGED, read_sealed_table, write_sealed_table

PATTERN = f"filter-{ANY_DIGEST}.parquet"
_SCHEMA = pa.schema([("key", pa.string()), ("label", pa.int64()), ("score", pa.float64()), ("reason", pa.string())])
_FACTS = "genrobust.filter"


def lowest_of_each_class(scores: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray:
    """Find the images, bool [N], among the lowest `share` (a fraction) of `scores` [N] of their class.

    Rounded down, so that a class is never emptied; of equal scores the later image goes first.

    Raises:
        UserError: A share outside (0, 1).
    """
    check_share(share)
    out = np.zeros(len(scores), dtype=bool)
    for label in np.unique(labels):
        here = np.flatnonzero(labels == label)
        order = here[np.lexsort((-here, scores[here]))]
        out[order[: int(share * len(here) + 1e-9)]] = True
    return out


def check_share(share: float) -> None:
    """Raise UserError for a share outside (0, 1)."""
    if not 0 < share < 1:
        raise UserError(f"--drop takes a share between 0 and 1, such as 0.1 for a tenth of each class; got {share:g}")


def below(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Find the images, bool [N], that score below `threshold`.

    Raises:
        UserError: Every image scores below it.
    """
    out = ~(scores >= threshold)  # which NaN is not
    if out.all():
        raise UserError(f"every image scores below {threshold:g} (the highest: {scores.max():g}): lower --threshold")
    return out


def write_filter(
    folder: Path,
    images: ImageSet,
    by: str,
    scores: np.ndarray,
    rejected: np.ndarray,
    rule: str,
    path: Path | None = None,
) -> Filter:
    """Write the filter of `images` that leaves out `rejected`, bool [N], into `folder` or to `path`.

    `rule` says in words why an image is rejected. The file appears complete or not at all.

    Raises:
        GenrobustError: A score is no number.
    """
    if lost := np.flatnonzero(~np.isfinite(scores)).tolist():
        raise GenrobustError(
            f"the {by} of {len(lost)} of {len(images)} images is no number, such as that of {images.keys[lost[0]]} "
            f"({scores[lost[0]]}): check the weights of the judging model, and filter again"
        )
    out = np.flatnonzero(rejected).tolist()
    keys, reasons = [images.keys[i] for i in out], [f"{by} {scores[i]:.4f}: {rule}" for i in out]
    columns = dict(zip(_SCHEMA.names, (keys, images.labels[out], scores[out], reasons), strict=True))
    facts = {"by": by, "rule": rule, "made": len(images), "kept": len(images) - len(out), "dataset": images.fingerprint}
    chosen = path or folder / f"filter-{digest([facts, keys])}.parquet"
    write_sealed_table(chosen, columns, _SCHEMA, _FACTS, facts)
    return read_filter(chosen)


def read_filter(path: Path) -> Filter:
    """Read a filter.

    Raises:
        UserError: There is no such filter.
        GenrobustError: The filter is damaged.
    """
    then = "; delete it and filter again"
    with reading(f"the filter {path}", *DAMAGED, then=then, kind=GenrobustError):
        if not path.exists():
            raise UserError(f"no filter at {path}: make one with genrobust filter")
        table, facts = read_sealed_table(path, _FACTS)
        rejected = dict(zip(table["key"].to_pylist(), table["reason"].to_pylist(), strict=True))
        return Filter(path, str(facts["by"]), int(facts["made"]), int(facts["kept"]), str(facts["dataset"]), rejected)


def filters_of(folder: Path) -> tuple[Filter, ...]:
    """Read the filters beside the shards in `folder`, by name."""
    return tuple(read_filter(path) for path in sorted(folder.glob(PATTERN)))


def kept_indices(images: ImageSet, filter: Filter) -> np.ndarray:
    """Find the indices, int64 and ascending, that `filter` keeps.

    Raises:
        UserError: The filter is of other images.
    """
    if images.fingerprint != filter.fingerprint:
        raise UserError(f"{filter.path} was made for other images than those of {images.name}: filter them again")
    return np.array([i for i, key in enumerate(images.keys) if key not in filter.rejected], dtype=np.int64)


def kept(images: ImageSet, filter: Filter) -> Subset:
    """Return the images that `filter` keeps.

    Raises:
        UserError: The filter is of other images.
    """
    return Subset(images, kept_indices(images, filter))
