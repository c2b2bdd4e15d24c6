"""An export as parquet files: the layout of Hugging Face datasets, images and class names included."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from genrobust.tools.export.format import FORMATS, Content, Format

PARQUET_BYTES = 500_000_000  # of images in a file, as Hugging Face datasets writes them
GROUP = 100  # rows a row group, likewise: what a reader or this writer holds in memory
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@FORMATS.register("parquet")
class Parquet(Format):
    """``data/SPLIT-00000-of-000NN.parquet``: ``image`` holds the PNG of the shards, ``label`` is a ClassLabel."""

    files = "data/SPLIT-*.parquet"
    usage = 'from datasets import load_dataset\n\nimages = load_dataset("FOLDER", split="SPLIT")'

    def write(self, content: Content, folder: Path) -> None:
        # As Hugging Face datasets keeps the types that pyarrow has no name for.
        label = {"names": list(content.classes.label_names), "_type": "ClassLabel"}
        features = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
        metadata = {"huggingface": json.dumps(features)}
        schema = pa.schema([("image", _IMAGE), *content.table.schema], metadata=metadata)
        samples, each = content.samples(), max(1, PARQUET_BYTES * len(content) // content.size)  # images a file
        files = -(-len(content) // each)
        (folder / "data").mkdir()
        for number in range(files):
            name, of_file = f"{content.split}-{number:05d}-of-{files:05d}.parquet", islice(samples, each)
            with pq.ParquetWriter(folder / "data" / name, schema, compression="zstd") as writer:
                while group := list(islice(of_file, GROUP)):
                    rows = [{"image": {"bytes": png, "path": f"{row['key']}.png"}, **row} for row, png in group]
                    writer.write_table(pa.Table.from_pylist(rows, schema))
