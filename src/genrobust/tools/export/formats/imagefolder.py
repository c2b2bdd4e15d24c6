"""An export as folders of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from genrobust.tools.export.content import TRAIN, Content, Part, safe_names
from genrobust.tools.export.format import FORMATS, Format, Json, columns

METADATA = "metadata.parquet"  # as text, a number that a part never has would have no type there
GROUP = 10_000  # rows a row group, without their images


@FORMATS.register("imagefolder")
class ImageFolder(Format):
    """``<part>/<class>/<key>.png``, with the bytes of the shards, and a metadata.parquet for each part."""

    files = "{}/**"
    usage = (
        "from datasets import load_dataset\nfrom torchvision.datasets import ImageFolder\n\n"
        f'train = load_dataset("FOLDER", split="{TRAIN}")\n'
        f'pixels = ImageFolder("FOLDER/{TRAIN}")'
    )
    note = (
        f"Each part holds a folder a class and {METADATA}, a row an image. torchvision numbers the classes in the "
        "order of their folders' names, which differs from the labels here where the ids are not sorted."
    )

    def write(self, content: Content, folder: Path, advance: Callable[[], object]) -> None:
        classes = safe_names(content.labels.label_names)
        schema = pa.schema([("file_name", pa.string()), *content.schema])
        for part in content.parts:
            for name in classes:
                (folder / part.name / name).mkdir(parents=True)
            written = self._write_images(part, classes, folder / part.name, advance)
            with pq.ParquetWriter(folder / part.name / METADATA, schema, compression="zstd") as writer:
                while rows := list(islice(written, GROUP)):
                    writer.write_table(pa.Table.from_pylist(rows, schema))

    def _write_images(
        self, part: Part, classes: Sequence[str], folder: Path, advance: Callable[[], object]
    ) -> Iterator[Json]:
        for row, png in part.samples():
            file_name = f"{classes[row['label']]}/{row['key']}.png"
            (folder / file_name).write_bytes(png)
            advance()
            yield {"file_name": file_name, **row}

    def features(self, content: Content) -> list[Json]:
        return columns(content, "int64")  # the metadata hold plain numbers
