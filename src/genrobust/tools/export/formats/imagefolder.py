"""An export as folders of images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from genrobust.core import bare_name, file_name
from genrobust.tools.export.format import FORMATS, Content, Format

# Matches names of folders that a file system may refuse.
_UNSAFE = re.compile(r'^[\s.-]|[\s.]$|[<>:"/\\|?*`{}\[\]\x00-\x1f]')


@FORMATS.register("imagefolder")
class ImageFolder(Format):
    """``SPLIT/<class>/<key>.png`` and a metadata.parquet."""

    files = "SPLIT/**"
    usage = """from datasets import load_dataset
from torchvision.datasets import ImageFolder

images = load_dataset("FOLDER", split="SPLIT")
pixels = ImageFolder("FOLDER/SPLIT")  # which numbers the classes in the order of their folders' names
"""

    def write(self, content: Content, folder: Path) -> None:
        classes = folder_names(content.classes.label_names)
        images = folder / content.split
        # Make folders of classes without images, too: torchvision refuses them instead of numbering the others anew.
        for name in classes:
            (images / name).mkdir(parents=True)
        names = []
        for row, png in content.samples():
            name = f"{classes[row['label']]}/{row['key']}.png"
            (images / name).write_bytes(png)
            names.append(name)
        table = content.table.add_column(0, "file_name", [names])
        pq.write_table(table, images / "metadata.parquet", compression="zstd")


def folder_names(names: Sequence[str]) -> list[str]:
    """Name a folder for each class: like the class, or by `file_name` if a file system may refuse that."""
    alike = Counter(map(bare_name, names))
    return [file_name(name) if _UNSAFE.search(name) or alike[bare_name(name)] > 1 else name for name in names]
