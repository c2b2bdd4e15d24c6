"""An export as WebDataset tars."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from genrobust.data import TarWriter
from genrobust.tools.export.content import DATA, TRAIN, Content, divided
from genrobust.tools.export.format import FORMATS, Format, Json, columns

TIMM = "_info.json"  # in which timm looks for the tars
TAR_BYTES = 200 << 20  # of images in a tar: a loader's workers take whole tars, so that there should be several


@FORMATS.register("webdataset")
class WebDataset(Format):
    """``data/<part>-00000-of-000NN.tar`` with ``key.cls``, ``key.json``, ``key.png``, and timm's _info.json."""

    files = f"{DATA}/{{}}-*.tar"
    usage = (
        "from timm.data import create_dataset\n\n"
        f'train = create_dataset("wds/", root="FOLDER", split="{TRAIN}", is_training=True, batch_size=64)'
    )
    note = (
        "Each sample is key.png, key.cls (the label) and key.json (all its columns). The order is fixed and the "
        "classes alternate: shuffle all the same. Hugging Face datasets and webdataset read them as well."
    )

    def write(self, content: Content, folder: Path, advance: Callable[[], object]) -> None:
        splits = {}
        for part in content.parts:
            samples = part.samples()
            files = divided(part, TAR_BYTES, folder, "tar")
            for path, count in files:
                with path.open("wb") as file, TarWriter(file) as tar:
                    for row, png in islice(samples, count):
                        tar.add(f"{row['key']}.cls", str(row["label"]).encode())
                        tar.add(f"{row['key']}.json", json.dumps(row, sort_keys=True, ensure_ascii=False).encode())
                        tar.add(f"{row['key']}.png", png)
                        advance()
            splits[part.name] = {
                "name": part.name,
                "filenames": [path.relative_to(folder).as_posix() for path, _ in files],
                "shard_lengths": [count for _, count in files],
                "num_samples": len(part),
            }
        (folder / TIMM).write_text(json.dumps({"splits": splits}, indent=1) + "\n", encoding="utf-8")

    def features(self, content: Content) -> list[Json]:
        # Without, Hugging Face datasets takes the types from the first images: a number that those lack has none there.
        fields = [column for column in columns(content, "int64") if column["name"] != "image"]
        texts = [{"name": name, "dtype": "string"} for name in ("__key__", "__url__")]
        label, png = {"name": "cls", "dtype": "int64"}, {"name": "png", "dtype": "image"}
        return [label, {"name": "json", "struct": fields}, png, *texts]
