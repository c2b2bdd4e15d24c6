"""Names of folders and files of an export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import IDS

from genrobust.data.shards import ShardDataset
from genrobust.release.parts import Part, divided, safe_names


def test_names_are_plain_and_differ_in_more_than_case() -> None:
    names = safe_names((*IDS, "ICE-CREAM", "..", "a/../b", "CON"))
    assert len({name.lower() for name in names}) == len(names)
    assert all(name.replace("-", "").replace("_", "").isalnum() and name.isascii() for name in names)
    assert (names[0], names[1], names[3]) == (IDS[0], IDS[1], IDS[3])


@pytest.mark.parametrize(("count", "size", "files"), [(10, 100, 1), (10, 101, 2), (10, 1000, 10), (3, 10_000, 3)])
def test_files_hold_even_numbers(dataset: Path, tmp_path: Path, count: int, size: int, files: int) -> None:
    part = Part("train", ShardDataset(dataset), np.arange(count), {})
    found = divided(part, size, 100, tmp_path, "tar")
    assert [path.name for path, _ in found] == [f"train-{n:05d}-of-{files:05d}.tar" for n in range(files)]
    counts = [n for _, n in found]
    assert (sum(counts), max(counts) - min(counts) <= 1) == (count, True)
