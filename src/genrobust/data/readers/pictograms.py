"""The embedded benchmark: pictures of things, drawn by hundreds of designers in seven styles (64 px, on white)."""

from __future__ import annotations

import json
from importlib import resources
from importlib.resources.abc import Traversable
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genrobust.core import EMBEDDED, ClassLabel, ImageSet, LabelSpace, StudyData, key_hash
from genrobust.data.classes import FolderClasses
from genrobust.data.data_source import DataSource
from genrobust.data.memory import MemoryImages
from genrobust.recipe import SOURCES

SHIFTS = ("outline-v2", "solid", "duotone", "emoji", "illustration", "hand-drawn", "pixel")


@SOURCES.register("pictograms")
class Pictograms(DataSource):
    """The embedded benchmark, which needs no other key."""

    own_clip: ClassVar[str | None] = EMBEDDED
    own_prompts: ClassVar[str] = EMBEDDED

    def load(self) -> tuple[StudyData, FolderClasses]:
        data = load_pictograms()
        return data, FolderClasses.from_labels(data.labels)


def load_pictograms() -> StudyData:
    """Read the packaged benchmark: real outline drawings, seven shifted test sets, and the wild images for retrieval.

    Images are in the order of a hash of their keys, so that the first n of a class mix its designers. A list names the
    images to learn from that resemble a test image. They are left out.
    """
    folder = resources.files("genrobust") / "assets" / "pictograms"
    labels = LabelSpace(tuple(ClassLabel(**values) for values in json.loads((folder / "classes.json").read_bytes())))
    near_copies = (folder / "near_copies.txt").read_text(encoding="utf-8").split()
    real = _without_keys(_read_table(folder / "real.parquet"), near_copies)
    wild = _without_keys(_read_table(folder / "wild.parquet"), near_copies)
    shift = _read_table(folder / "shift.parquet")
    tests: dict[str, ImageSet] = {"test": _split(real, "test")}
    for name in SHIFTS:
        tests[name] = _split(shift, name)
    return StudyData(
        labels=labels,
        train=_split(real, "train"),
        val=_split(real, "val"),
        tests=tests,
        clean="test",
        retrieval=_split(wild, "wild"),
        shifted_val=_split(wild, "wild-val"),
    )


def _read_table(file: Traversable) -> pa.Table:
    columns = ["key", "image", "class", "style", "split", "family"]
    return pq.read_table(pa.BufferReader(file.read_bytes()), columns=columns)


def _without_keys(table: pa.Table, keys: list[str]) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table["key"], pa.array(keys))))


def _split(table: pa.Table, split: str) -> MemoryImages:
    rows = table.filter(pc.equal(table["split"], split))
    keys = rows["key"].to_pylist()
    order = np.array(sorted(range(len(keys)), key=lambda i: key_hash(keys[i])), dtype=np.int64)
    rows = rows.take(order)
    images = MemoryImages(
        split,
        rows["image"].to_pylist(),
        rows["class"].to_numpy(),
        rows["key"].to_pylist(),
        styles=rows["style"].to_pylist(),
        groups=rows["family"].to_pylist(),
    )
    images.packaged = True
    return images
