"""Hugging Face datasets on disk, as parquet files.

pyarrow reads them where they lie. `datasets` would first copy them into a cache of its own, twice the disk of ImageNet,
and reads them in place as a stream alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from genrobust.core import NoColumn, UserError, parse_json, reading
from genrobust.data.file_list import Listing, PackedFile, list_packed, some_names

IMAGE, LABEL = "image", "label"  # the columns: a struct of bytes and path, and an integer
# What pyarrow and the parsers of names raise where a file is damaged.
DAMAGED = (pa.ArrowException, ValueError, LookupError, TypeError, AttributeError, OverflowError)
CACHED = 4  # row groups kept in memory: those that neighboring images, asked for by several threads, lie in


class _File:
    """A parquet file that is opened for each reading; its metadata are kept.

    Attributes:
        starts: The first row of each row group, and the number of rows, int64 [groups + 1].
        names: The class names of its labels, or none.
    """

    def __init__(self, path: Path, labeled: bool) -> None:
        self.path = path
        with pq.ParquetFile(path) as file:
            self._metadata, self._schema = file.metadata, file.schema_arrow
        self.rows = self._metadata.num_rows
        groups = map(self._metadata.row_group, range(self._metadata.num_row_groups))
        self.starts = np.cumsum([0, *(group.num_rows for group in groups)])
        self.names = _check_schema(path, self._schema, labeled)

    def values(self, name: str) -> list[Any]:
        """Read a column; raises ValueError if it has not a value for each row."""
        with pq.ParquetFile(self.path, metadata=self._metadata) as file:
            values: list[Any] = file.read(columns=[name])[name].to_pylist()
        if len(values) != self.rows:
            raise ValueError(f"it says that it has {self.rows:,} rows, and has {len(values):,}")
        return values

    def further_values(self, name: str) -> list[Any]:
        """Read a column that the user names; raises NoColumn if there is none."""
        _require_one(self.path, self._schema, name, "name one of these")
        with reading(f"{self.path} as parquet", *DAMAGED, then="; save it again"):
            return self.values(name)

    def images(self, group: int) -> pa.ChunkedArray:
        """Read the images of a row group."""
        with pq.ParquetFile(self.path, metadata=self._metadata) as file:
            return _encoded(file.read_row_group(group, columns=[IMAGE])[IMAGE])


def list_parquet(source: Path, files: Sequence[Path], labeled: bool = True) -> Listing:
    """List the images in parquet `files`, which lie at `source`.

    Only labels are read now, and not these either unless the images are `labeled`: then all are of the group "". Else a
    group is the name of the label, or its number where labels have no names. Images are read a row group at a time,
    which is fast in their order alone; they are called by their rows.

    Raises:
        UserError: A file or a column cannot be used; the message names it.
    """
    images, lock = lru_cache(maxsize=CACHED)(_File.images), Lock()

    def open_file(path: Path) -> PackedFile:
        with reading(f"{path} as parquet", *DAMAGED, then="; save it again"):
            table = _File(path, labeled)
            labels = table.values(LABEL) if labeled else []
        groups = _groups(path, labels, table.names) if labeled else [""] * table.rows

        def encoded(row: int) -> tuple[bytes, str]:
            group = int(np.searchsorted(table.starts, row, side="right")) - 1
            with reading(f"{path}, row {row}", *DAMAGED, then="; save it again"):
                with lock:  # neighbors wait for one read instead of each doing their own
                    of_group = images(table, group)
                data = of_group[row - int(table.starts[group])].as_py()
            if data is None:
                raise UserError(f"{path}, row {row}: the file holds no bytes of this image: save it with its images")
            return data, f"row {row} of {path}"

        names = [f"{row:06d}" for row in range(table.rows)]
        return PackedFile(names, groups, encoded, table.further_values, table.names)

    return list_packed(source, files, open_file, in_order=True)


def _encoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The bytes of a column of structs of bytes and path, which may be no UTF-8; another column as it is."""
    return pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column


def _groups(path: Path, labels: Sequence[Any], names: tuple[str, ...]) -> list[str]:
    groups = []
    for row, label in enumerate(labels):
        if label is None or label < 0 or (names and label >= len(names)):
            known = f"0 to {len(names) - 1}" if names else "0, 1, ..."
            problem = f"{path}, row {row}: the label {label!r} is none of {known}"
            raise UserError(f"{problem} (a test split without labels?)")
        groups.append(names[label] if names else str(label))
    return groups


def _check_schema(path: Path, schema: pa.Schema, labeled: bool) -> tuple[str, ...]:
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
    return _class_names(path, schema) if labeled else ()


def _require_one(path: Path, schema: pa.Schema, column: str, then: str) -> None:
    if (count := schema.names.count(column)) != 1:
        has = f"{count} columns called {column!r}" if count else f"no column {column!r}"
        raise (UserError if count else NoColumn)(f"{path} has {has}: it has {some_names(schema.names)}; {then}")


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(path: Path, schema: pa.Schema) -> tuple[str, ...]:
    """The class names that `datasets` keeps in a schema's metadata, () where it has none."""
    with reading(f"the features in {path}", *DAMAGED, then="; save it again"):
        metadata = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = metadata.get("info", {}).get("features", {}).get(LABEL, {}).get("names")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise ValueError("the names of the labels are no list of texts")
    return tuple(names or ())
