"""Filters: the lowest of each class, thresholds, and a list beside shards that stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from genrobust.core import GenrobustError, StudyData, UserError
from genrobust.data import (
    FILTERS,
    ShardDataset,
    below,
    kept,
    kept_indices,
    lowest_of_each_class,
    open_stored,
    read_filter,
    write_filter,
)

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


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_a_filter_is_listed_beside_shards_that_stay_as_they_are(dataset: ShardDataset) -> None:
    before = files(dataset.folder)
    made = write_filter(dataset, "CLIP score", SCORES, np.arange(8) % 4 == 1, "below 0.35", dataset.folder)
    after = files(dataset.folder)
    assert after.keys() - before.keys() == {
        f"filters/{made.folder.name}/{name}" for name in ("rejected.parquet", "manifest.json")
    }
    assert {name: after[name] for name in before} == before
    assert list(open_stored(dataset.folder).listing(()).groups).count("0") == 4  # it is no folder of a class
    assert ShardDataset(dataset.folder).fingerprint == dataset.fingerprint
    rows = [tuple(row.values()) for row in pq.read_table(made.folder / "rejected.parquet").to_pylist()]
    reasons = [f"CLIP score {score:.4f}: below 0.35" for score in (0.1, 0.3)]
    assert rows == [("tree-000001", 1, 0.1, reasons[0]), ("tree-000005", 1, 0.3, reasons[1])]
    assert (made.by, made.made, made.kept) == ("CLIP score", 8, 6)


def test_what_is_kept_can_be_trained_on(dataset: ShardDataset) -> None:
    found = write_filter(dataset, "CLIP score", SCORES, SCORES < 0.3, "below 0.3", dataset.folder)
    assert kept_indices(dataset, found).tolist() == [0, 2, 4, 5, 6, 7]
    images = kept(dataset, found)
    assert list(images.keys) == [dataset.keys[i] for i in (0, 2, 4, 5, 6, 7)]
    assert images.image(1).tobytes() == dataset.image(2).tobytes()


def test_the_same_filter_is_the_same_folder_and_another_is_another(dataset: ShardDataset) -> None:
    one, same, other = (
        write_filter(dataset, "CLIP score", SCORES, t > SCORES, f"below {t}", dataset.folder) for t in (0.3, 0.3, 0.5)
    )
    assert one.folder == same.folder != other.folder
    assert set((dataset.folder / FILTERS).iterdir()) == {one.folder, other.folder}


def test_a_filter_of_other_images_is_refused_and_so_is_a_missing_or_damaged_one(
    dataset: ShardDataset, write_shards: Callable[..., Path], tmp_path: Path, icons: StudyData
) -> None:
    found = write_filter(dataset, "CLIP score", SCORES, SCORES < 0.3, "below 0.3", dataset.folder)
    other = ShardDataset(write_shards(tmp_path / "other", [icons.val.image(i) for i in range(8)], ["cup", "tree"]))
    with pytest.raises(UserError, match=found.folder.name):
        kept_indices(other, found)
    with pytest.raises(UserError, match="none"):
        read_filter(tmp_path / "none")
    table = found.folder / "rejected.parquet"
    table.write_bytes(table.read_bytes()[:40])
    with pytest.raises(GenrobustError, match=found.folder.name):
        read_filter(found.folder)
