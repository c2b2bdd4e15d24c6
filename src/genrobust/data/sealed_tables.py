"""Parquet files that hold facts beside their rows, and a SHA-256 of all that they say."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genrobust.core import (
    BLANK_SEAL,
    check_seal,
    find_seal,
    lock,
    make_folder,
    remove_leftovers,
    replacing,
    write_seal,
)

# What `read_sealed_table`, and a look at what it returns, raise for a damaged file.
DAMAGED = (pa.ArrowException, KeyError, ValueError, TypeError)
_SHA256 = b"genrobust.sha256"
_BEFORE_SEAL = _SHA256 + b"\x18@"  # in the file: the type of a value, and that it has 64 bytes


def write_sealed_table(path: Path, columns: Mapping[str, Any], schema: pa.Schema, key: str, facts: Any) -> None:
    """Write `columns`, and `facts` as JSON under `key` of the file's metadata; the file appears complete or not at all.

    The same content is the same file.
    """
    metadata = {key.encode(): json.dumps(facts, sort_keys=True), _SHA256: BLANK_SEAL}
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(columns), schema.with_metadata(metadata)), buffer, compression="zstd")
    make_folder(path.parent)
    with lock(path.parent, wait=True):
        remove_leftovers(path.parent)
        with replacing(path) as file:
            file.write(buffer.getvalue())
            write_seal(file, find_seal(buffer.getvalue(), _BEFORE_SEAL))


def read_sealed_table(path: Path, key: str) -> tuple[pa.Table, Any]:
    """Return the table and the facts that `write_sealed_table` wrote.

    Raises:
        OSError: The file cannot be read.
        ArrowException, KeyError, ValueError, TypeError: The file is damaged.
    """
    content = path.read_bytes()
    check_seal(path, find_seal(content, _BEFORE_SEAL))
    table = pq.read_table(pa.BufferReader(content))
    return table, json.loads((table.schema.metadata or {})[key.encode()])
