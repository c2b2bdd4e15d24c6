"""An export as WebDataset tars."""

from __future__ import annotations

import json
from pathlib import Path

from genrobust.data import TarWriter
from genrobust.tools.export.content import DATA, TRAIN, Content
from genrobust.tools.export.format import FORMATS, Format

TIMM = "_info.json"  # in which timm looks for the tars
TAR_BYTES = 200 << 20  # of images in a tar: a loader's workers take whole tars, so that there should be several


@FORMATS.register("webdataset")
class WebDataset(Format):
    """``data/train-00000-of-000NN.tar`` with ``key.cls``, ``key.json``, ``key.png``, and timm's _info.json."""

    files = f"{DATA}/{TRAIN}-*.tar"
    usage = (
        "from timm.data import create_dataset\n\n"
        f'train = create_dataset("wds/", root="FOLDER", split="{TRAIN}", is_training=True, batch_size=64)'
    )
    note = (
        "Each sample is key.png, key.cls (the label) and key.json (all its columns). The order is fixed and the "
        "classes alternate: shuffle all the same. Hugging Face datasets and webdataset read them as well."
    )

    def write(self, content: Content, folder: Path) -> None:
        lengths = {}
        for path, samples in content.files(folder, TAR_BYTES, "tar"):
            name = path.relative_to(folder).as_posix()
            lengths[name] = 0
            with path.open("wb") as file, TarWriter(file) as tar:
                for row, png in samples:
                    tar.add(f"{row['key']}.cls", str(row["label"]).encode())
                    tar.add(f"{row['key']}.json", json.dumps(row, sort_keys=True, ensure_ascii=False).encode())
                    tar.add(f"{row['key']}.png", png)
                    lengths[name] += 1
        split = {"filenames": list(lengths), "shard_lengths": list(lengths.values()), "num_samples": len(content)}
        info = {"splits": {TRAIN: {"name": TRAIN, **split}}}
        (folder / TIMM).write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
