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
from genrobust.data.memory import MemoryImages
from genrobust.data.reader import DataSource
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
    """Read the packaged benchmark: real outline drawings, seven shifted test sets, and the wild for retrieval.

    Images come in the order of a hash of their keys, so that the first n of a class mix its designers. Those that are
    learned from and resemble a test image are left out: a list names them.
    """
    folder = resources.files("genrobust") / "assets" / "pictograms"
    near_copies = {*(folder / "near_copies.txt").read_text(encoding="utf-8").split()}
    labels = LabelSpace(tuple(ClassLabel(**c) for c in json.loads((folder / "classes.json").read_bytes())))
    real, shift, wild = (_read_table(folder / f"{side}.parquet") for side in ("real", "shift", "wild"))
    real, wild = (table.filter(pc.invert(pc.is_in(table["key"], pa.array(near_copies)))) for table in (real, wild))
    tests: dict[str, ImageSet] = {"test": _split(real, "test"), **{name: _split(shift, name) for name in SHIFTS}}
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


def _split(table: pa.Table, split: str) -> MemoryImages:
    rows = table.filter(pc.equal(table["split"], split))
    keys = rows["key"].to_pylist()
    order = np.array(sorted(range(len(keys)), key=lambda i: key_hash(keys[i])), dtype=np.int64)
    rows = rows.take(order)
    columns = (rows[name].to_pylist() for name in ("key", "style", "family"))
    images = MemoryImages(split, rows["image"].to_pylist(), rows["class"].to_numpy(), *columns)
    images.packaged = True
    return images
