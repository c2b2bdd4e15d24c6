"""An export as parquet files: the layout of Hugging Face datasets, images and class names included."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from genrobust.tools.export.content import DATA, TRAIN, Content, divided
from genrobust.tools.export.format import FORMATS, Format, Json, columns

PARQUET_BYTES = 500_000_000  # of images in a file, as Hugging Face datasets writes them
GROUP = 100  # rows a row group, likewise: what a reader or this writer holds in memory
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@FORMATS.register("parquet")
class Parquet(Format):
    """``data/<part>-00000-of-000NN.parquet``: ``image`` holds the PNG of the shards, ``label`` is a ClassLabel."""

    files = f"{DATA}/{{}}-*.parquet"
    usage = f'from datasets import load_dataset\n\ntrain = load_dataset("FOLDER", split="{TRAIN}")'
    note = "The label is a ClassLabel whose names are the class\_ids."

    def write(self, content: Content, folder: Path, advance: Callable[[], object]) -> None:
        # The columns as Hugging Face datasets keeps their types in a file.
        types = {c["name"]: {"dtype": c["dtype"], "_type": "Value"} for c in columns(content, None)}
        label = {"names": list(content.labels.label_names), "_type": "ClassLabel"}
        features = {**types, "image": {"_type": "Image"}, "label": label}
        info = {"huggingface": json.dumps({"info": {"features": features}})}
        schema = pa.schema([("image", _IMAGE), *content.schema], metadata=info)
        for part in content.parts:
            samples = part.samples()
            for path, count in divided(part, PARQUET_BYTES, folder, "parquet"):
                of_file = islice(samples, count)
                with pq.ParquetWriter(path, schema, compression="zstd") as writer:
                    while group := list(islice(of_file, GROUP)):
                        rows = [{"image": {"bytes": png, "path": f"{row['key']}.png"}, **row} for row, png in group]
                        writer.write_table(pa.Table.from_pylist(rows, schema))
                        for _ in group:
                            advance()

    def features(self, content: Content) -> list[Json]:
        names = {str(label): name for label, name in enumerate(content.labels.label_names)}
        return columns(content, {"class_label": {"names": names}})
