"""An export as folders of images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from genrobust.release.croissant import TYPES, column, field, file_object, file_set
from genrobust.release.format import FORMATS, Format, Json, columns
from genrobust.release.parts import TRAIN, Content, Part, safe_names

METADATA = "metadata.jsonl"


@FORMATS.register("imagefolder")
class ImageFolder(Format):
    """``<part>/<class>/<key>.png``, with the bytes of the shards, and a metadata.jsonl for each part."""

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

    def write(self, content: Content, sizes: dict[str, int], folder: Path, advance: Callable[[], object]) -> None:
        classes = safe_names(content.labels.ids)
        for part in content.parts:
            for name in classes:
                (folder / part.name / name).mkdir(parents=True)
            with (folder / part.name / METADATA).open("w", encoding="utf-8") as lines:
                for row, png in content.samples(part):
                    place = f"{classes[row['label']]}/{row['key']}.png"
                    (folder / part.name / place).write_bytes(png)
                    lines.write(json.dumps({"file_name": place, **row}, ensure_ascii=False) + "\n")
                    advance()

    def features(self, content: Content) -> list[Json]:
        return columns(content, "int64")  # the metadata hold plain numbers

    def croissant(self, content: Content, part: Part, folder: Path) -> tuple[list[Json], list[Json]]:
        table = file_object(f"{part.name}/{METADATA}", "application/jsonlines", folder)
        images = file_set(f"{part.name}-images", f"{part.name}/*/*.png", "image/png")
        types = {"file_name": "sc:Text"} | {f.name: TYPES[f.type] for f in content.schema}
        return [table, images], [field(part, n, dtype, table, column(n)) for n, dtype in types.items()]
