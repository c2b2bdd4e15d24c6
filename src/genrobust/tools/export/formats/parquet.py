"""An export as parquet files: the layout of Hugging Face datasets, images and class names included."""

from __future__ import annotations

import json
import math
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from genrobust.tools.export.format import FORMATS, Content, Format

PARQUET_BYTES = 500_000_000  # of images in a file, as `datasets` writes them
GROUP = 100  # rows in a row group, as `datasets` writes them: readers hold one in memory
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@FORMATS.register("parquet")
class Parquet(Format):
    """``data/SPLIT-00000-of-000NN.parquet``: ``image`` holds a PNG, ``label`` is a ClassLabel."""

    files = "data/SPLIT-*.parquet"
    usage = 'from datasets import load_dataset\n\nimages = load_dataset("FOLDER", split="SPLIT")'

    def write(self, content: Content, folder: Path) -> None:
        # Hugging Face datasets keeps types that pyarrow does not have in the metadata.
        label = {"names": list(content.classes.label_names), "_type": "ClassLabel"}
        features = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
        metadata = {"huggingface": json.dumps(features)}
        schema = pa.schema([("image", _IMAGE), *content.table.schema], metadata=metadata)
        images_per_file = max(1, PARQUET_BYTES * len(content) // content.size)
        files = math.ceil(len(content) / images_per_file)
        (folder / "data").mkdir()
        samples = content.samples()
        for number in range(files):
            name = f"{content.split}-{number:05d}-of-{files:05d}.parquet"
            of_file = islice(samples, images_per_file)
            with pq.ParquetWriter(folder / "data" / name, schema, compression="zstd") as writer:
                while group := list(islice(of_file, GROUP)):
                    rows = [{"image": {"bytes": png, "path": f"{row['key']}.png"}, **row} for row, png in group]
                    writer.write_table(pa.Table.from_pylist(rows, schema))
