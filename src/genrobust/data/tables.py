"""Hugging Face datasets on disk: parquet files, or Arrow files as ``save_to_disk`` writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from genrobust.core import UserError, progress_bar, reading
from genrobust.data.file_list import Listing, stamp
from genrobust.data.reading import read_image

STATE = "state.json"  # of a dataset that save_to_disk wrote
SPLITS = "dataset_dict.json"  # of a folder of several such
IMAGE, LABEL = "image", "label"  # the columns: a struct of bytes and path, and an integer
CACHED = 4  # row groups kept in memory: those that neighbouring images, asked for by several threads, lie in


def list_parquet(source: Path, files: Sequence[Path]) -> tuple[Listing, tuple[str, ...]]:
    """List the images in parquet `files`, which lie at `source`; return the names of their labels too, () without any.

    Only labels are read now; images are read a row group at a time, which is fast in their order alone. A key is
    ``{file}/{row}``. Raises UserError that names the file and the column.
    """
    metadata: list[pq.FileMetaData] = []
    labels: list[list[Any]] = []
    names: tuple[str, ...] = ()
    with progress_bar(f"listing {source.name}", len(files), "files") as bar:
        for path in files:
            with reading(f"{path} as parquet", pa.ArrowException), pq.ParquetFile(path) as file:
                _check(path, file.schema_arrow)
                names = _names(file.schema_arrow)
                labels.append(file.read(columns=[LABEL])[LABEL].to_pylist())
                metadata.append(file.metadata)
            bar.advance()
    return _listing(source, files, labels, names, _by_row_group(files, metadata), in_order=True), names


def _by_row_group(files: Sequence[Path], metadata: Sequence[pq.FileMetaData]) -> Callable[[int, int], Any]:
    """What reads the image at a row of a file, with its row group, of which the latest are kept."""
    starts = [np.cumsum([0, *(m.row_group(g).num_rows for g in range(m.num_row_groups))]) for m in metadata]
    lock = Lock()

    @lru_cache(maxsize=CACHED)
    def row_group(number: int, group: int) -> pa.ChunkedArray:
        with pq.ParquetFile(files[number], metadata=metadata[number]) as file:
            return file.read_row_group(group, columns=[IMAGE])[IMAGE]

    def value(number: int, row: int) -> Any:
        group = int(np.searchsorted(starts[number], row, side="right")) - 1
        # neighbours wait for one read instead of each doing their own
        with reading(f"{files[number]}, row {row}", pa.ArrowException), lock:
            images = row_group(number, group)
        return images[row - int(starts[number][group])].as_py()

    return value


def list_saved(folder: Path) -> tuple[Listing, tuple[str, ...]]:
    """List the images of a dataset that `datasets.Dataset.save_to_disk` wrote, mapped into memory: any order is fast.

    Returns and raises as `list_parquet`.
    """
    with reading(
        f"the saved dataset {folder}", ValueError, KeyError, TypeError, pa.ArrowException, then="; save it again"
    ):
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        files = [folder / entry["filename"] for entry in state["_data_files"]]
        tables = [pa.ipc.open_stream(pa.memory_map(str(path))).read_all() for path in files]
    for path, table in zip(files, tables, strict=True):
        _check(path, table.schema)
    names = _names(tables[0].schema) if tables else ()
    labels = [table[LABEL].to_pylist() for table in tables]
    images = [table[IMAGE] for table in tables]
    return _listing(folder, files, labels, names, lambda number, row: images[number][row].as_py()), names


def _listing(
    source: Path,
    files: Sequence[Path],
    labels: Sequence[list[Any]],
    names: Sequence[str],
    value: Callable[[int, int], Any],
    in_order: bool = False,
) -> Listing:
    """The rows of all `files`: a group is the name of the label, or its number where labels have no names."""
    stamps = [stamp(path) for path in files]
    where = [(number, row) for number, of_file in enumerate(labels) for row in range(len(of_file))]
    keys = [f"{files[number].stem}/{row:06d}" for number, row in where]
    groups = [_group(files[number], row, labels[number][row], names) for number, row in where]

    def read(index: int) -> Image.Image:
        number, row = where[index]
        image = value(number, row)
        data = image.get("bytes") if isinstance(image, dict) else image
        if not isinstance(data, bytes):
            raise UserError(
                f"{files[number]}, row {row}: the file holds no bytes of this image: save it with its images"
            )
        return read_image(data, name=f"row {row} of {files[number]}")

    return Listing(source, keys, groups, [stamps[number] for number, _ in where], read, in_order)


def _group(path: Path, row: int, label: Any, names: Sequence[str]) -> str:
    if not isinstance(label, int) or label < 0 or (names and label >= len(names)):
        known = f"0 to {len(names) - 1}" if names else "0, 1, ..."
        raise UserError(f"{path}, row {row}: the label {label!r} is none of {known} (a test split without labels?)")
    return names[label] if names else str(label)


def _check(path: Path, schema: pa.Schema) -> None:
    for column in (IMAGE, LABEL):
        if column not in schema.names:
            raise UserError(
                f"{path} has no column {column!r}: it has {', '.join(schema.names)}; rename one and save it"
            )


def _names(schema: pa.Schema) -> tuple[str, ...]:
    """The class names that `datasets` keeps in a schema's metadata."""
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][LABEL]
        return tuple(feature["names"])
    except (KeyError, ValueError, TypeError):
        return ()
