"""Hugging Face datasets on disk: parquet files, or Arrow files as ``save_to_disk`` writes them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from genrobust.core import UserError, parse_json, progress_bar, reading
from genrobust.data.file_list import Listing, require_new, some_names, stamp
from genrobust.data.reading import read_image

STATE = "state.json"  # of a dataset that save_to_disk wrote
SPLITS = "dataset_dict.json"  # of a folder of several such
IMAGE, LABEL = "image", "label"  # the columns: a struct of bytes and path, and an integer
HIDDEN = ""  # stands for a label that is not read: no label of a file, an integer or null, is this
# What pyarrow and the parsers of names raise where a file is damaged.
DAMAGED = (pa.ArrowException, ValueError, LookupError, TypeError, AttributeError, OverflowError)
CACHED = 4  # row groups kept in memory: those that neighboring images, asked for by several threads, lie in


def list_parquet(source: Path, files: Sequence[Path], labeled: bool = True) -> tuple[Listing, tuple[str, ...]]:
    """List the images in parquet `files`, which lie at `source`; return the names of their labels too, () without any.

    Only labels are read now, and not these either unless the images are `labeled`: then all are of the group "". Images
    are read a row group at a time, which is fast in their order alone. A key is ``{file}/{row}``.

    Raises:
        UserError: A file or a column cannot be used, or a file is there twice; the message names it.
    """
    metadata: list[pq.FileMetaData] = []
    labels: list[list[Any]] = []
    names: list[tuple[str, ...]] = []
    stamps = [stamp(path) for path in files]
    seen: dict[Hashable, Path] = {}
    with progress_bar(f"listing {source.name}", len(files), "files") as bar:
        for path, (size, _) in zip(files, stamps, strict=True):
            with reading(f"{path} as parquet", *DAMAGED), pq.ParquetFile(path) as file:
                names.append(_check(path, file.schema_arrow, labeled))
                rows = file.metadata.num_rows
                labels.append(file.read(columns=[LABEL])[LABEL].to_pylist() if labeled else [HIDDEN] * rows)
                metadata.append(file.metadata)
                require_new(path, (size, rows), seen)
            bar.advance()

    def column(name: str) -> list[Any]:
        found: list[Any] = []
        for path in files:
            with reading(f"{path} as parquet", *DAMAGED), pq.ParquetFile(path) as file:
                _require_scalars(path, file.schema_arrow, name)
                found += file.read(columns=[name])[name].to_pylist()
        return found

    same = _same(files, names)
    return _listing(source, files, stamps, labels, same, _by_row_group(files, metadata), column, in_order=True), same


def _by_row_group(files: Sequence[Path], metadata: Sequence[pq.FileMetaData]) -> Callable[[int, int], Any]:
    """Return a function that reads the image at a row of a file, with its row group, of which the latest are kept."""
    starts = [np.cumsum([0, *(m.row_group(g).num_rows for g in range(m.num_row_groups))]) for m in metadata]
    lock = Lock()

    @lru_cache(maxsize=CACHED)
    def row_group(number: int, group: int) -> pa.ChunkedArray:
        with pq.ParquetFile(files[number], metadata=metadata[number]) as file:
            return file.read_row_group(group, columns=[IMAGE])[IMAGE]

    def value(number: int, row: int) -> Any:
        group = int(np.searchsorted(starts[number], row, side="right")) - 1
        # neighbors wait for one read instead of each doing their own
        with lock:
            images = row_group(number, group)
        return _encoded(images[row - int(starts[number][group])])

    return value


def list_saved(folder: Path, labeled: bool = True) -> tuple[Listing, tuple[str, ...]]:
    """List the images of a dataset that `datasets.Dataset.save_to_disk` wrote, mapped into memory: any order is fast.

    Returns the names of the labels too, () without any.

    Raises:
        UserError: A file or a column cannot be used, or a file is named twice; the message names it.
    """
    again = "; save it again"
    with reading(f"the saved dataset {folder}", *DAMAGED, then=again):
        state = parse_json((folder / STATE).read_bytes())
        named = [entry["filename"] for entry in state["_data_files"]]
        if outside := [name for name in named if Path(name).name != name]:
            raise UserError(f"{folder / STATE} names the file {outside[0]!a}, which is not in that folder{again}")
        if len(set(named)) < len(named):
            raise UserError(f"{folder / STATE} names a file twice, so that its images would count twice{again}")
        files = [folder / name for name in named]
        stamps = [stamp(path) for path in files]
        tables = [pa.ipc.open_stream(pa.memory_map(str(path))).read_all() for path in files]
        for table in tables:
            _check_offsets(table, (IMAGE, LABEL))
        checked = [_check(path, table.schema, labeled) for path, table in zip(files, tables, strict=True)]
        names = _same(files, checked)
        labels = [table[LABEL].to_pylist() if labeled else [HIDDEN] * len(table) for table in tables]
    images = [table[IMAGE] for table in tables]

    def column(name: str) -> list[Any]:
        found: list[Any] = []
        for path, table in zip(files, tables, strict=True):
            with reading(path, *DAMAGED, then=again):
                _require_scalars(path, table.schema, name)
                _check_offsets(table, (name,))
                found += table[name].to_pylist()
        return found

    return _listing(
        folder, files, stamps, labels, names, lambda number, row: _encoded(images[number][row]), column
    ), names


def _check_offsets(table: pa.Table, names: Sequence[str]) -> None:
    """Raise pa.ArrowInvalid for a damaged file, whose offsets Arrow would follow out of its memory."""
    for column in (table[name] for name in names if table.schema.names.count(name) == 1):
        for chunk in column.chunks:
            chunk.validate()
            kind = chunk.type
            parts = [chunk.field(i) for i in range(kind.num_fields)] if pa.types.is_struct(kind) else [chunk]
            for part in parts:  # a text may be no UTF-8: the path beside an image is not read
                part = part.view(pa.binary()) if pa.types.is_string(part.type) else part
                part.validate(full=True)


def _same(files: Sequence[Path], names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The names of the labels, which all files share."""
    for path, of_file in zip(files, names, strict=True):
        if of_file != names[0]:
            raise UserError(f"{path} and {files[0]} have different names for their labels: save them as one dataset")
    return names[0] if names else ()


def _encoded(image: pa.Scalar) -> object:
    """The bytes of a row's image. Its path is not decoded: it may be no UTF-8."""
    return image["bytes"].as_py() if isinstance(image, pa.StructScalar) and image.is_valid else image.as_py()


def _listing(
    source: Path,
    files: Sequence[Path],
    stamps: Sequence[tuple[int, int]],
    labels: Sequence[list[Any]],
    names: Sequence[str],
    value: Callable[[int, int], Any],
    column: Callable[[str], list[Any]],
    in_order: bool = False,
) -> Listing:
    """The rows of all `files`: a group is the name of the label, or its number where labels have no names."""
    where = [(number, row) for number, of_file in enumerate(labels) for row in range(len(of_file))]
    keys = [f"{files[number].stem}/{row:06d}" for number, row in where]
    groups = [_group(files[number], row, labels[number][row], names) for number, row in where]

    def read(index: int) -> Image.Image:
        number, row = where[index]
        with reading(f"{files[number]}, row {row}", *DAMAGED):
            data = value(number, row)
        if not isinstance(data, bytes):
            raise UserError(
                f"{files[number]}, row {row}: the file holds no bytes of this image: save it with its images"
            )
        return read_image(data, name=f"row {row} of {files[number]}")

    return Listing(source, keys, groups, [stamps[number] for number, _ in where], read, in_order, column)


def _group(path: Path, row: int, label: Any, names: Sequence[str]) -> str:
    if label == HIDDEN:
        return HIDDEN
    if not isinstance(label, int) or label < 0 or (names and label >= len(names)):
        known = f"0 to {len(names) - 1}" if names else "0, 1, ..."
        raise UserError(f"{path}, row {row}: the label {label!r} is none of {known} (a test split without labels?)")
    return names[label] if names else str(label)


def _check(path: Path, schema: pa.Schema, labeled: bool) -> tuple[str, ...]:
    """The class names in the schema of `path`, which must have a column of images and, if `labeled`, one of labels."""
    columns: tuple[tuple[str, Callable[[pa.DataType], bool], str], ...] = (
        (IMAGE, _holds_bytes, "bytes, or a struct of bytes and path"),
        (LABEL, pa.types.is_integer, "integers"),
    )
    for column, fits, wanted in columns if labeled else columns[:1]:
        _require_one(path, schema, column, "rename one and save it")
        if not fits(kind := schema.field(column).type):
            raise UserError(
                f"{path}: the column {column!r} holds {str(kind)[:100]!a}, and must hold {wanted}: save it so"
            )
    return _names(path, schema) if labeled else ()


def _require_one(path: Path, schema: pa.Schema, column: str, then: str) -> None:
    if (count := schema.names.count(column)) != 1:
        has = f"{count} columns called {column!r}" if count else f"no column {column!r}"
        raise UserError(f"{path} has {has}: it has {some_names(schema.names)}; {then}")


def _require_scalars(path: Path, schema: pa.Schema, column: str) -> None:
    """Raise UserError where there is no such column, or one of images, lists or mappings, which may fill the memory."""
    _require_one(path, schema, column, "name one of these")
    kind = schema.field(column).type
    if pa.types.is_nested(kind) or _holds_bytes(kind):
        raise UserError(f"{path}: the column {column!r} holds {str(kind)[:100]!a}, and no texts or numbers")


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        return names.count("bytes") == 1 and _holds_bytes(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _names(path: Path, schema: pa.Schema) -> tuple[str, ...]:
    """The class names that `datasets` keeps in a schema's metadata, () where it has none."""
    metadata = (schema.metadata or {}).get(b"huggingface")
    if metadata is None:
        return ()
    with reading(f"the features in {path}", *DAMAGED, then="; save it again"):
        feature = parse_json(metadata).get("info", {}).get("features", {}).get(LABEL, {})
        names = feature.get("names")
    if names is None:
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: the names of its labels are no list of texts: save it again")
    return tuple(names)
