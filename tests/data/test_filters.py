"""Filters: the lowest of each class, thresholds, and a list beside shards that stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from genrobust.core import StudyData, UserError
from genrobust.data import (
    ShardDataset,
    below,
    kept_indices,
    lowest_of_each_class,
    read_filter,
    write_filter,
)
from genrobust.data.filters import FilterResult
from genrobust.store import Manifest

SCORES = np.array([0.9, 0.1, 0.5, 0.2, 0.3, 0.3, 0.3, 0.8])
LABELS = np.array([0, 1, 0, 0, 1, 1, 1, 0])


@pytest.fixture
def dataset(write_shards: Callable[..., Path], tmp_path: Path, icons: StudyData) -> ShardDataset:
    return ShardDataset(write_shards(tmp_path / "set", [icons.train.image(i) for i in range(8)], ["cup", "tree"]))


def test_each_class_gives_its_lowest_and_later_images_go_first_among_equals() -> None:
    assert np.flatnonzero(lowest_of_each_class(SCORES, LABELS, 0.5)).tolist() == [1, 2, 3, 6]
    assert lowest_of_each_class(SCORES, LABELS, 0.2).sum() == 0  # a fifth of four rounds down
    assert lowest_of_each_class(SCORES[:1], LABELS[:1], 0.99).sum() == 0  # no class is emptied


def test_a_threshold_that_leaves_nothing_is_refused() -> None:
    assert np.flatnonzero(below(SCORES, 0.3)).tolist() == [1, 3]
    with pytest.raises(UserError, match=r"lower threshold"):
        below(SCORES, 2)


def written(dataset: ShardDataset, place: Path, limit: float = 0.3) -> FilterResult:
    manifest = Manifest("filter", {"limit": limit}, {"by": "CLIP score", "rule": f"below {limit}"})
    return write_filter(dataset, SCORES, limit > SCORES, place, manifest)


def test_a_filter_lists_what_it_leaves_out_with_scores_and_reasons(dataset: ShardDataset, tmp_path: Path) -> None:
    made = written(dataset, tmp_path / "filter")
    rows = [tuple(row.values()) for row in pq.read_table(made.folder / "rejected.parquet").to_pylist()]
    reasons = [f"CLIP score {score:.4f}: below 0.3" for score in (0.1, 0.2)]
    assert rows == [("tree-000001", 1, 0.1, reasons[0]), ("tree-000003", 1, 0.2, reasons[1])]
    assert (made.by, made.made, made.kept) == ("CLIP score", 8, 6)
    assert kept_indices(dataset, made).tolist() == [0, 2, 4, 5, 6, 7]


def test_a_filter_of_other_images_is_refused_and_so_is_a_missing_one(
    dataset: ShardDataset, write_shards: Callable[..., Path], tmp_path: Path, icons: StudyData
) -> None:
    found = written(dataset, tmp_path / "filter")
    other = ShardDataset(write_shards(tmp_path / "other", [icons.val.image(i) for i in range(8)], ["cup", "tree"]))
    with pytest.raises(UserError, match=found.folder.name):
        kept_indices(other, found)
    with pytest.raises(UserError, match="none"):
        read_filter(tmp_path / "none")
