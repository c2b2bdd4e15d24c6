"""The content of an export: its images, and their columns."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genrobust.core import DEVICES, LabelSpace, UserError, file_name, progress_bar
from genrobust.data import OK, ShardDataset

TRAIN, DATA = "train", "data"  # the split, and the folder of tars and of parquet files, as Hugging Face calls them
ROWS = 1000  # that are read into objects at once

# The columns of an image beside its pixels: those of the shards, and the name of its class to show.
ALWAYS = ("key", "label", "class_id", "class_name")
OTHERS = (
    *("prompt", "template", "negative_prompt", "style", "seed", "source", "generator", "mode"),
    *("lora", "adapter", "strength", "steps", "guidance_scale", "redraws"),
)
_UNSAFE = re.compile(r'^[\s.-]|[\s.]$|[<>:"/\\|?*`{}\[\]\x00-\x1f]')  # in the name of a folder, on some system


@dataclass(frozen=True, slots=True)
class Content:
    """What is exported: the images of `shards` at `indices`, each with a row of `table`; `size` is in bytes of PNG."""

    shards: ShardDataset
    indices: np.ndarray
    table: pa.Table
    size: int
    classes: LabelSpace

    def __len__(self) -> int:
        return len(self.indices)

    def samples(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield the columns and the PNG of each image, and show the progress; an unknown text is "".

        Raises:
            GenrobustError: An image has changed since it was written.
        """
        rows = (row for batch in self.table.to_batches(ROWS) for row in batch.to_pylist())
        with progress_bar("exporting", len(self)) as bar:
            for index, row in zip(self.indices.tolist(), rows, strict=True):
                yield row, self.shards.encoded(index)
                bar.advance()

    def files(
        self, folder: Path, limit: int, kind: str
    ) -> Iterator[tuple[Path, Iterator[tuple[dict[str, Any], bytes]]]]:
        """Yield paths in `folder` of files of about `limit` bytes, named as Hugging Face does, with their samples."""
        (folder / DATA).mkdir()
        samples, each = self.samples(), -(-len(self) // max(1, -(-self.size // limit)))
        total = -(-len(self) // each)
        for number in range(total):
            yield folder / DATA / f"{TRAIN}-{number:05d}-of-{total:05d}.{kind}", islice(samples, each)


def read_content(shards: ShardDataset, indices: np.ndarray) -> Content:
    """Read the columns of the images at `indices`, without those that none of them has.

    Raises:
        UserError: A class without images.
    """
    classes = shards.label_space()
    if len(lacking := np.setdiff1d(np.arange(len(classes)), shards.labels[indices])):
        raise UserError(
            f"there is no image of the class {classes.label_names[lacking[0]]!r}: choose a filter that leaves some, or "
            "generate more images"
        )
    rows = shards.metadata(("status", "size", *ALWAYS[:3], *OTHERS))
    images = rows.filter(pc.equal(rows["status"], OK)).take(indices)
    columns = {"key": images["key"], "label": images["label"]}
    for name, texts in (("class_id", classes.label_names), ("class_name", classes.names)):
        columns[name] = pa.array(texts).take(images["label"])
    columns |= {
        name: pc.fill_null(images[name], "") if pa.types.is_string(images[name].type) else images[name]
        for name in OTHERS
        if pc.any(pc.not_equal(pc.cast(images[name], pa.string()), "")).as_py()
    }
    return Content(shards, indices, pa.table(columns), pc.sum(images["size"]).as_py(), classes)


def folder_names(names: Sequence[str]) -> list[str]:
    """Name a folder for each class: as the class, or by `file_name` where a file system may not take that."""

    def bare(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold()

    counts = Counter(map(bare, names))
    return [
        file_name(name)
        if _UNSAFE.search(name)
        or counts[bare(name)] > 1
        or bare(name).partition(".")[0] in DEVICES
        or len(name.encode()) > 255
        else name
        for name in names
    ]
