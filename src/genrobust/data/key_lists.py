"""Artifacts that are a list of images in one parquet file: the results of filters and searches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genrobust.core import GenrobustError, reading
from genrobust.store import Artifact, Manifest, replacing


def write_list(path: Path, manifest: Manifest, columns: Mapping[str, Any], schema: pa.Schema) -> None:
    """Write `columns` to `path`, the only file of an artifact."""
    with Artifact(path.parent).writing(manifest, path.name), replacing(path) as file:
        pq.write_table(pa.table(columns, schema), file, compression="zstd")


@contextmanager
def reading_list(path: Path) -> Iterator[tuple[pa.Table, Mapping[str, Any]]]:
    """Yield the table and the facts about it that `write_list` wrote. An error in the block is reported as damage."""
    artifact = Artifact(path.parent)
    about = artifact.manifest().about
    then = f": {artifact.remedy}"
    artifact.path(path.name)
    with reading(path, pa.ArrowException, KeyError, ValueError, TypeError, then=then, kind=GenrobustError):
        yield pq.read_table(path), about
