"""An export as WebDataset tars: what `webdataset`, timm's wds reader and Hugging Face datasets read."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import webdataset

from genrobust.release.parts import TIMM, Described, file_name, ranges

TAR_BYTES = 200 << 20  # of images in a tar: a loader's workers take whole tars, so that there should be several
_PAX = "PAX_FORMAT"  # of tarfile: names of any length


def write_tars(described: Described, sizes: dict[str, int], folder: Path, advance: Callable[[], object]) -> None:
    """Write ``data/<part>-00000-of-000NN.tar`` (``key.png``, ``key.cls``, ``key.json``) and timm's _info.json.

    `sizes` are the bytes of each part's images, in files of about TAR_BYTES. Images as in the shards; the
    same images give the same tars. `advance` is called after each. Raises as `Described.samples`.
    """
    splits = {}
    for part in described.parts:
        samples = described.samples(part)
        files = ranges(len(part), sizes[part.name], TAR_BYTES)
        names = [file_name(part.name, i, len(files), "tar") for i in range(len(files))]
        for name, wanted in zip(names, files, strict=True):
            (folder / name).parent.mkdir(exist_ok=True)
            with (
                (folder / name).open("wb") as file,
                webdataset.TarWriter(file, user="", group="", mode=0o644, encoder=False, mtime=0, format=_PAX) as tar,
            ):
                for told, png in islice(samples, len(wanted)):
                    json_bytes = json.dumps(told, sort_keys=True, ensure_ascii=False).encode()
                    label = str(told["label"]).encode()
                    tar.write({"__key__": told["key"], "png": png, "cls": label, "json": json_bytes})
                    advance()
        splits[part.name] = {
            "name": part.name,
            "filenames": [name.as_posix() for name in names],
            "shard_lengths": [len(wanted) for wanted in files],
            "num_samples": len(part),
        }
    (folder / TIMM).write_text(json.dumps({"splits": splits}, indent=1) + "\n", encoding="utf-8")
