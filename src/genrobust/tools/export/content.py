"""The content of an export: the images that train, those that validate, and the columns of each."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genrobust.core import DEVICES, LabelSpace, UserError, digest, hashed_seed, slug
from genrobust.data import OK, ShardDataset

TRAIN, VALIDATION = "train", "validation"  # as Hugging Face calls them
DATA = "data"  # the folder of tars and of parquet files
MOST_BYTES = 255  # of the name of a folder, in UTF-8
ROWS = 1000  # that are read into objects at once

# The columns of an image beside its pixels: those of the shards, and the name of its class to show.
ALWAYS = ("key", "label", "class_id", "class_name")
OTHERS = (
    *("prompt", "template", "negative_prompt", "style", "seed", "source", "generator", "mode"),
    *("lora", "adapter", "strength", "steps", "guidance_scale", "redraws"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """The images of `shards` at `indices`, int64 and ascending, with their columns; `size` is in bytes of PNG."""

    name: str
    shards: ShardDataset
    indices: np.ndarray
    table: pa.Table
    size: int

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels(self) -> np.ndarray:
        return self.shards.labels[self.indices]

    def samples(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield the columns and the PNG of each image; an unknown text is "".

        Raises:
            GenrobustError: An image has changed since it was written.
        """
        rows = (row for batch in self.table.to_batches(ROWS) for row in batch.to_pylist())
        for index, row in zip(self.indices.tolist(), rows, strict=True):
            yield row, self.shards.encoded(index)


@dataclass(frozen=True, slots=True)
class Content:
    """The content of an export: `parts` of the classes `labels`."""

    parts: tuple[Part, ...]
    labels: LabelSpace

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def schema(self) -> pa.Schema:
        """The columns beside the pixels, which all parts have."""
        return self.parts[0].table.schema


def read_content(shards: ShardDataset, chosen: np.ndarray, val: float | None) -> Content:
    """Read what is exported of `shards`: the images at the indices `chosen`, a fraction `val` of which validate.

    Raises:
        UserError: A fraction outside (0, 1), or a part without images of a class.
    """
    labels = shards.label_space()
    rows = shards.metadata(("status", "size", *ALWAYS[:3], *OTHERS))
    images = rows.filter(pc.equal(rows["status"], OK))
    classes = pa.array(labels.label_names), pa.array(labels.names)
    columns = {"key": images["key"], "label": images["label"]}
    columns |= {name: names.take(images["label"]) for name, names in zip(ALWAYS[2:], classes, strict=True)}
    for name in OTHERS:
        column = images[name]
        if pa.types.is_string(column.type):
            column = pc.fill_null(column, "")
        known = column.take(chosen)
        if pc.any(pc.not_equal(known, "") if pa.types.is_string(column.type) else known.is_valid()).as_py():
            columns[name] = column
    table, sizes = pa.table(columns), images["size"].to_numpy()
    divided = {TRAIN: chosen}
    if val is not None:
        source = pc.coalesce(images["source"], images["key"]).to_numpy(zero_copy_only=False)
        divided[TRAIN], divided[VALIDATION] = _split(source[chosen], shards.labels[chosen], chosen, val)
    parts = tuple(
        Part(name, shards, indices, table.take(indices), int(sizes[indices].sum())) for name, indices in divided.items()
    )
    for part in parts:
        if len(lacking := np.setdiff1d(np.arange(len(labels)), part.labels)):
            raise UserError(
                f"the {part.name} part has no image of the class {labels.label_names[lacking[0]]!r}: choose a filter "
                "that leaves some, another --val, or generate more images"
            )
    return Content(parts, labels)


def _split(
    sources: np.ndarray, labels: np.ndarray, indices: np.ndarray, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Divide `indices` into those that train and those that validate: of every class, a fraction of its `sources`.

    Sources are real images from which images were made, or the images themselves. They are drawn by a hash of their
    names: the same each time, and independent of other classes.
    """
    if not 0 < fraction < 1:
        raise UserError(f"--val {fraction:g}: give a fraction between 0 and 1, such as 0.1 for a tenth of each class")
    validates = np.zeros(len(indices), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        names = sorted(set(sources[members]), key=lambda name: (hashed_seed("validation", name), name))
        drawn = set(names[: min(max(1, round(fraction * len(names))), len(names) - 1)])
        validates[members] = [name in drawn for name in sources[members]]
    return indices[~validates], indices[validates]


def safe_names(names: Sequence[str]) -> tuple[str, ...]:
    """Name a folder for each class: as the class, or a slug where a file system may not take that; each is unique."""
    known, used, folders = {name.casefold() for name in names}, set[str](), []
    for name in names:
        folder = name if _is_portable(name) else slug(name)
        if folder.casefold() in used or (folder != name and folder.casefold() in known):
            folder = f"{slug(name)}-{digest(name, 6)}"
        used.add(folder.casefold())
        folders.append(folder)
    return tuple(folders)


def _is_portable(name: str) -> bool:
    """Return whether `name` has letters and digits of any language, and of other characters only some in its middle."""
    letters = (c.isalnum() or unicodedata.category(c).startswith("M") or c in " _-+#.,'()" for c in name)
    inner = name.lstrip(" -.").rstrip(" .")
    is_device = name.partition(".")[0].casefold() in DEVICES
    return name == inner != "" and all(letters) and not is_device and len(name.encode()) <= MOST_BYTES


def divided(part: Part, limit: int, folder: Path, kind: str) -> list[tuple[Path, int]]:
    """Divide the images of `part` evenly into files of about `limit` bytes at the most.

    Returns the path in `folder` of each file, as Hugging Face calls it, and its number of images.
    """
    (folder / DATA).mkdir(exist_ok=True)
    files = min(max(1, -(-part.size // limit)), max(1, len(part)))
    bounds = [len(part) * n // files for n in range(files + 1)]
    names = [f"{part.name}-{n:05d}-of-{files:05d}.{kind}" for n in range(files)]
    return [(folder / DATA / name, b - a) for name, (a, b) in zip(names, pairwise(bounds), strict=True)]
