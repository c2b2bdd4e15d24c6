"""An export as folders of images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from genrobust.core import bare_name, file_name
from genrobust.tools.export.format import FORMATS, Content, Format

_UNSAFE = re.compile(r'^[\s.-]|[\s.]$|[<>:"/\\|?*`{}\[\]\x00-\x1f]')  # in the name of a folder, on some system


@FORMATS.register("imagefolder")
class ImageFolder(Format):
    """``SPLIT/<class>/<key>.png``, with the bytes of the shards, and a metadata.parquet."""

    files = "SPLIT/**"
    usage = """from datasets import load_dataset
from torchvision.datasets import ImageFolder

images = load_dataset("FOLDER", split="SPLIT")
pixels = ImageFolder("FOLDER/SPLIT")  # which numbers the classes in the order of their folders' names
"""

    def write(self, content: Content, folder: Path) -> None:
        classes, names, images = folder_names(content.classes.label_names), [], folder / content.split
        for name in classes:  # torchvision refuses one that stays empty, where it would number the others otherwise
            (images / name).mkdir(parents=True)
        for row, png in content.samples():
            names.append(f"{classes[row['label']]}/{row['key']}.png")
            (images / names[-1]).write_bytes(png)
        table = content.table.add_column(0, "file_name", [names])
        pq.write_table(table, images / "metadata.parquet", compression="zstd")


def folder_names(names: Sequence[str]) -> list[str]:
    """Name a folder for each class: as the class, or by `file_name` where a file system may not take that."""
    alike = Counter(map(bare_name, names))
    return [file_name(name) if _UNSAFE.search(name) or alike[bare_name(name)] > 1 else name for name in names]
