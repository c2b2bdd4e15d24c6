"""List images in the parquet files of a Hugging Face dataset.

pyarrow reads the files in place. The library `datasets` would first copy them into its own cache, which doubles the
disk space, or read them in place as a stream only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genrobust.core import NoColumn, UserError, parse_json, reading
from genrobust.data.listing import Listing, PackedFile, list_packed, some_names

IMAGE, LABEL = "image", "label"  # columns: a struct of bytes and path, and an integer
# Exceptions of pyarrow and of the parsers of names on a damaged file.
DAMAGED = (pa.ArrowException, ValueError, LookupError, TypeError, AttributeError, OverflowError)
# Row groups kept in memory. Several threads ask for neighboring images.
CACHED = 4


class _ParquetFile:
    """A parquet file of images. Each read opens it; its metadata are kept.

    Attributes:
        starts: First row of each row group, then the number of rows, int64 [groups + 1].
        label_names: Class names of the labels, or ().
    """

    def __init__(self, path: Path, labeled: bool) -> None:
        self.path = path
        with pq.ParquetFile(path) as file:
            self._metadata = file.metadata
            self._schema = file.schema_arrow
        self.rows = self._metadata.num_rows
        sizes = [self._metadata.row_group(i).num_rows for i in range(self._metadata.num_row_groups)]
        self.starts = np.cumsum([0, *sizes])
        self.label_names = _check_schema(path, self._schema, labeled)

    def values(self, name: str) -> list[Any]:
        """Read a column. Raise ValueError unless it has a value for each row."""
        with pq.ParquetFile(self.path, metadata=self._metadata) as file:
            values: list[Any] = file.read(columns=[name])[name].to_pylist()
        if len(values) != self.rows:
            raise ValueError(f"it says that it has {self.rows:,} rows, and has {len(values):,}")
        return values

    def column(self, name: str) -> list[Any]:
        """Read a column that the user names. Raise NoColumn if there is none."""
        _require_one(self.path, self._schema, name, "name one of these")
        with reading(f"{self.path} as parquet", *DAMAGED, then="; save it again"):
            return self.values(name)

    def images(self, row_group: int) -> pa.ChunkedArray:
        with pq.ParquetFile(self.path, metadata=self._metadata) as file:
            column = file.read_row_group(row_group, columns=[IMAGE])[IMAGE]
        # Leave out the path, which may be no valid UTF-8.
        if pa.types.is_struct(column.type):
            return pc.struct_field(column, "bytes")
        return column


def list_parquet(source: Path, files: Sequence[Path], labeled: bool = True) -> Listing:
    """List the images in the parquet `files` at `source`. An image is named after its row.

    A group is the name of a label, or its number if labels have no names. Without labels, all images are in the group
    "". Images are read a row group at a time, which is fast only in their own order.
    """
    read_row_group = lru_cache(maxsize=CACHED)(_ParquetFile.images)
    lock = Lock()

    def open_file(path: Path) -> PackedFile:
        with reading(f"{path} as parquet", *DAMAGED, then="; save it again"):
            file = _ParquetFile(path, labeled)
            labels = file.values(LABEL) if labeled else []
        if labeled:
            groups = _groups(path, labels, file.label_names)
        else:
            groups = [""] * file.rows

        def encoded(row: int) -> tuple[bytes, str]:
            row_group = int(np.searchsorted(file.starts, row, side="right")) - 1
            with reading(f"{path}, row {row}", *DAMAGED, then="; save it again"):
                # With the lock, threads wait for one read of a row group instead of each reading it.
                with lock:
                    images = read_row_group(file, row_group)
                data = images[row - int(file.starts[row_group])].as_py()
            if data is None:
                raise UserError(f"{path}, row {row}: the file holds no bytes of this image: save it with its images")
            return data, f"row {row} of {path}"

        names = [f"{row:06d}" for row in range(file.rows)]
        return PackedFile(names, groups, encoded, file.column, file.label_names)

    return list_packed(source, files, open_file, in_order=True)


def _groups(path: Path, labels: Sequence[Any], label_names: tuple[str, ...]) -> list[str]:
    groups = []
    for row, label in enumerate(labels):
        if label is None or label < 0 or (label_names and label >= len(label_names)):
            known = f"0 to {len(label_names) - 1}" if label_names else "0, 1, ..."
            raise UserError(f"{path}, row {row}: the label {label!r} is none of {known} (a test split without labels?)")
        groups.append(label_names[label] if label_names else str(label))
    return groups


def _check_schema(path: Path, schema: pa.Schema, labeled: bool) -> tuple[str, ...]:
    """Require a column of images and, if `labeled`, one of labels. Return the class names in the schema."""
    _require_one(path, schema, IMAGE, "rename one and save it")
    if not _holds_bytes(schema.field(IMAGE).type):
        _refuse_type(path, schema, IMAGE, "bytes, or a struct of bytes and path")
    if not labeled:
        return ()
    _require_one(path, schema, LABEL, "rename one and save it")
    if not pa.types.is_integer(schema.field(LABEL).type):
        _refuse_type(path, schema, LABEL, "integers")
    return _class_names(path, schema)


def _refuse_type(path: Path, schema: pa.Schema, column: str, wanted: str) -> None:
    held = str(schema.field(column).type)[:100]
    raise UserError(f"{path}: the column {column!r} holds {held!a}, and must hold {wanted}: save it so")


def _require_one(path: Path, schema: pa.Schema, column: str, then: str) -> None:
    count = schema.names.count(column)
    there = f"it has {some_names(schema.names)}; {then}"
    if count == 0:
        raise NoColumn(f"{path} has no column {column!r}: {there}")
    if count > 1:
        raise UserError(f"{path} has {count} columns called {column!r}: {there}")


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(path: Path, schema: pa.Schema) -> tuple[str, ...]:
    """Return the class names that `datasets` keeps in the metadata of a schema, () if there are none."""
    with reading(f"the features in {path}", *DAMAGED, then="; save it again"):
        metadata = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = metadata.get("info", {}).get("features", {}).get(LABEL, {}).get("names")
        if names is None:
            return ()
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("the names of the labels are no list of texts")
    return tuple(names)
