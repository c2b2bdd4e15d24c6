"""The content of an export: the images that train, those that validate, and the columns of each."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genrobust.core import DEVICES, LabelSpace, UserError, digest, hashed_seed, slug
from genrobust.data import OK, SCHEMA, ShardDataset, shard_rows

TRAIN, VALIDATION = "train", "validation"  # as Hugging Face calls them
DATA = "data"  # the folder of tars and of parquet files
CARD, SHEET, RECIPE = "README.md", "contact_sheet.png", "recipe.yaml"
TIMM = "_info.json"  # of the tars
MOST_BYTES = 255  # of the name of a folder, in UTF-8

# The columns of an image beside its pixels: those of the shards, and two that are added.
ALWAYS = ("key", "label", "class_id", "class_name")
_NAMES = (
    *(*ALWAYS, "prompt", "template", "negative_prompt", "style", "seed", "source"),
    *("generator", "mode", "lora", "adapter", "strength", "steps", "guidance_scale", "redraws", "flagged"),
)
_ADDED = {"class_name": pa.string(), "flagged": pa.string()}
COLUMNS = pa.schema([pa.field(n, _ADDED[n]) if n in _ADDED else SCHEMA.field(n) for n in _NAMES])
OWN = tuple(name for name in _NAMES if name not in _ADDED)


@dataclass(frozen=True, slots=True)
class Origin:
    """The recipe of a dataset, with all its values, and the name that it gives to the dataset."""

    recipe: str
    dataset: str


@dataclass(frozen=True, slots=True)
class Part:
    """The images of `shards` at `indices`, int64 and ascending. `flagged` maps the keys of faulty ones to the fault."""

    name: str
    shards: ShardDataset
    indices: np.ndarray
    flagged: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels(self) -> np.ndarray:
        return self.shards.labels[self.indices]

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield `columns` of the images, a table a shard."""
        first = 0
        for shard in range(self.shards.about["shards"]):
            table = shard_rows(self.shards.folder, shard, tuple({*columns, "status"}))
            images = table.filter(pc.equal(table["status"], OK)).select(columns)
            start, stop = np.searchsorted(self.indices, (first, first + images.num_rows))
            yield images.take(self.indices[start:stop] - first)
            first += images.num_rows


@dataclass(frozen=True, slots=True)
class Content:
    """The content of an export: `parts` of the classes `labels`, with `columns` for every image."""

    parts: tuple[Part, ...]
    labels: LabelSpace
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([COLUMNS.field(name) for name in self.columns])

    def samples(self, part: Part) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield the columns and the PNG of each image of `part`, in the order of the shards; an unknown text is "".

        Holds the rows of one shard in memory, and one image.

        Raises:
            GenrobustError: An image has changed since it was written.
        """
        texts = {field.name for field in self.schema if field.type == pa.string()}
        tables = part.tables([name for name in self.columns if name in OWN])
        rows = (row for table in tables for row in table.to_pylist())
        for index, row in zip(part.indices.tolist(), rows, strict=True):
            class_label = self.labels.classes[row["label"]]
            row["class_id"], row["class_name"] = class_label.label_name, class_label.name
            row["flagged"] = part.flagged.get(row["key"])
            shown = {name: "" if row[name] is None and name in texts else row[name] for name in self.columns}
            yield shown, part.shards.encoded(index)


def split(shards: ShardDataset, indices: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Divide `indices` into those that train and those that validate: of every class, `fraction` of its images.

    They are drawn by a hash of the keys: the same each time, and independent of other classes. Images that were made
    from one real image stay together.

    Raises:
        UserError: A fraction outside (0, 1), or one that leaves a class without images in a part.
    """
    if not 0 < fraction < 1:
        raise UserError(f"--val {fraction:g}: give a fraction between 0 and 1, such as 0.1 for a tenth of each class")
    table = pa.concat_tables(Part("", shards, indices, {}).tables(("key", "source")))
    group = np.array(pc.coalesce(table["source"], table["key"]).to_pylist())
    labels, validates = shards.labels[indices], np.zeros(len(indices), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        names = group[members].tolist()
        order = sorted(range(len(members)), key=lambda i: (hashed_seed("validation", names[i]), i))
        count = round(fraction * len(members))
        while 0 < count < len(members) and names[order[count]] == names[order[count - 1]]:
            count += 1
        if not 0 < count < len(members):
            short = "train" if count else "validation"
            raise UserError(
                f"--val {fraction:g} leaves the class {shards.label_names[label]!r}, which has {len(members)} images, "
                f"without any in the {short} part: choose another fraction, or name a dataset with --val-dataset"
            )
        validates[members[order[:count]]] = True
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


def divided(part: Part, size: int, limit: int, folder: Path, kind: str) -> list[tuple[Path, int]]:
    """Divide the images of `part`, `size` bytes together, evenly into files of about `limit` bytes at the most.

    Returns the path in `folder` of each file, as Hugging Face calls it, and its number of images.
    """
    (folder / DATA).mkdir(exist_ok=True)
    files = min(max(1, -(-size // limit)), max(1, len(part)))
    bounds = [len(part) * n // files for n in range(files + 1)]
    names = [f"{part.name}-{n:05d}-of-{files:05d}.{kind}" for n in range(files)]
    return [(folder / DATA / name, b - a) for name, (a, b) in zip(names, pairwise(bounds), strict=True)]
