"""An export as parquet files: the layout of Hugging Face datasets, images and class names included."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genrobust.core import LabelSpace
from genrobust.release.parts import Described, file_name, ranges

PARQUET_BYTES = 500_000_000  # of images in a file, as Hugging Face datasets writes them
GROUP = 100  # rows a row group, likewise: what a reader or this writer holds in memory
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_parquet(described: Described, sizes: dict[str, int], folder: Path, advance: Callable[[], object]) -> None:
    """Write ``data/<part>-00000-of-000NN.parquet`` into `folder`; arguments as for `tars.write_tars`.

    ``image`` holds the PNG as it is in the shards, ``label`` is a ClassLabel whose names are the class ids.
    """
    told = {"huggingface": json.dumps({"info": {"features": features(described.schema, described.labels)}})}
    schema = pa.schema([("image", _IMAGE), *described.schema], metadata=told)
    for part in described.parts:
        samples = described.samples(part)
        files = ranges(len(part), sizes[part.name], PARQUET_BYTES)
        for index, wanted in enumerate(files):
            of_file = islice(samples, len(wanted))
            path = folder / file_name(part.name, index, len(files), "parquet")
            path.parent.mkdir(exist_ok=True)
            with pq.ParquetWriter(path, schema, compression="zstd") as writer:
                while group := list(islice(of_file, GROUP)):
                    rows = [{"image": {"bytes": png, "path": f"{row['key']}.png"}, **row} for row, png in group]
                    writer.write_table(pa.Table.from_pylist(rows, schema))
                    for _ in group:
                        advance()


def features(schema: pa.Schema, labels: LabelSpace) -> dict[str, Any]:
    """The columns, with ``image`` before them, as Hugging Face datasets keeps their types in a file."""
    found: dict[str, Any] = {"image": {"_type": "Image"}}
    for field in schema:
        dtype = {"double": "float64"}.get(str(field.type), str(field.type))
        found[field.name] = {"dtype": dtype, "_type": "Value"}
    found["label"] = {"names": list(labels.ids), "_type": "ClassLabel"}
    return found
