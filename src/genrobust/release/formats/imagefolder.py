"""An export as folders of images: what torchvision's ImageFolder, timm and Hugging Face's imagefolder read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from genrobust.release.parts import Described, safe_names

METADATA = "metadata.jsonl"


def write_imagefolder(described: Described, folder: Path, advance: Callable[[], object]) -> None:
    """Write ``<part>/<class>/<key>.png`` and, for each part, a metadata.jsonl with a row an image, into `folder`.

    The bytes of the images are those of the shards. `advance` is called after each. Raises as `Described.samples`.
    """
    classes = safe_names(described.labels.ids)
    for part in described.parts:
        for name in classes:
            (folder / part.name / name).mkdir(parents=True)
        with (folder / part.name / METADATA).open("w", encoding="utf-8") as lines:
            for told, png in described.samples(part):
                place = f"{classes[told['label']]}/{told['key']}.png"
                (folder / part.name / place).write_bytes(png)
                lines.write(json.dumps({"file_name": place, **told}, ensure_ascii=False) + "\n")
                advance()
