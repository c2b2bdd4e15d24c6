"""An export as folders of images."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from genrobust.tools.export.content import TRAIN, Content, folder_names
from genrobust.tools.export.format import FORMATS, Format

METADATA = "metadata.parquet"


@FORMATS.register("imagefolder")
class ImageFolder(Format):
    """``train/<class>/<key>.png``, with the bytes of the shards, and a metadata.parquet."""

    files = f"{TRAIN}/**"
    usage = (
        "from datasets import load_dataset\nfrom torchvision.datasets import ImageFolder\n\n"
        f'train = load_dataset("FOLDER", split="{TRAIN}")\n'
        f'pixels = ImageFolder("FOLDER/{TRAIN}")'
    )
    note = (
        f"There is a folder for each class, and {METADATA} with a row for each image. torchvision numbers the classes "
        "in the order of their folders' names, which differs from the labels here where the ids are not sorted."
    )

    def write(self, content: Content, folder: Path) -> None:
        classes = folder_names(content.classes.label_names)
        for name in classes:
            (folder / TRAIN / name).mkdir(parents=True)
        names = []
        for row, png in content.samples():
            names.append(f"{classes[row['label']]}/{row['key']}.png")
            (folder / TRAIN / names[-1]).write_bytes(png)
        table = content.table.add_column(0, "file_name", [names])
        pq.write_table(table, folder / TRAIN / METADATA, compression="zstd")
