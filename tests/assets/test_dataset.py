"""The shipped Pictograms data: one family on one side, no image on two, every class in every split of real."""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from importlib import resources

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

ASSETS = resources.files("genrobust") / "assets" / "pictograms"
FREE = {"MIT", "ISC", "Apache-2.0", "BSD-3-Clause", "CC0-1.0", "Unlicense", "OFL-1.1", "CC-BY-4.0", "CC-BY-3.0"}


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    return {side: pq.read_table(str(ASSETS / f"{side}.parquet")) for side in ("real", "shift", "wild")}


def side_of(split: str) -> str:
    if split in {"train", "val", "test"}:
        return "real"
    return split if split in {"wild", "wild-val"} else "shift"


def test_a_family_lies_on_one_side(tables: dict[str, pa.Table]) -> None:
    sides: dict[str, set[str]] = defaultdict(set)
    for table in tables.values():
        for family, split in zip(table["family"].to_pylist(), table["split"].to_pylist(), strict=True):
            sides[family].add(side_of(split))
    assert {family: s for family, s in sides.items() if len(s) != 1} == {}
    assert {"real", "shift", "wild", "wild-val"} == set().union(*sides.values())


def test_no_key_and_no_picture_comes_twice(tables: dict[str, pa.Table]) -> None:
    for column in ("key", "sha256"):
        values = [v for table in tables.values() for v in table[column].to_pylist()]
        assert len(values) == len(set(values)) > 10_000


def test_hashes_are_of_the_decoded_pixels(tables: dict[str, pa.Table]) -> None:
    for table in tables.values():
        for row in table.slice(0, 400).to_pylist():
            pixels = np.asarray(Image.open(io.BytesIO(row["image"])).convert("RGB"))
            assert pixels.shape == (64, 64, 3)
            assert hashlib.sha256(pixels.tobytes()).hexdigest() == row["sha256"], row["key"]


def test_variants_of_a_drawing_stay_on_one_split(tables: dict[str, pa.Table]) -> None:
    split_of: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for row in tables["real"].select(["family", "class_id", "name", "split"]).to_pylist():
        stem = row["name"].rstrip("0123456789").rstrip("-")
        split_of[row["family"], row["class_id"], stem].add(row["split"])
    assert [group for group, splits in split_of.items() if len(splits) > 1] == []


def test_every_set_is_free_to_ship(tables: dict[str, pa.Table]) -> None:
    licenses = {license for table in tables.values() for license in table["license"].to_pylist()}
    assert licenses <= FREE
    named = json.loads((ASSETS / "sets.json").read_text(encoding="utf-8"))
    assert {s for table in tables.values() for s in table["set"].to_pylist()} == set(named)
