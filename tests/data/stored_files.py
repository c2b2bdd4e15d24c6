"""Tars and parquet files of small images, for the tests of what reads them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(value: int = 0) -> bytes:
    """An image that tells its number by its gray."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def gray(image: Image.Image) -> int:
    """The number of an image that `png` made."""
    value = image.getpixel((0, 0))
    assert isinstance(value, tuple)
    return int(value[0])


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def tar(*members: tuple[str | tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of names, or headers, with their contents."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as file:
        for info, data in members:
            info = member(info) if isinstance(info, str) else info
            info.size = info.size or len(data)
            file.addfile(info, io.BytesIO(data) if data else None)
    return buffer.getvalue()


def labeled_tar(labels: Iterable[object]) -> bytes:
    """A tar whose image n has the gray n and one of the `labels`."""
    pairs = [((f"{n:04d}.png", png(n)), (f"{n:04d}.cls", str(label).encode())) for n, label in enumerate(labels)]
    return tar(*(one for pair in pairs for one in pair))


def table(labels: Any = (0, 1), images: Any = None, names: object = None, shade: int = 0, **more: Any) -> pa.Table:
    """A table as `datasets` saves it: image n has the gray n + `shade`, or is one of `images`."""
    if images is None:
        images = pa.array([{"bytes": png(shade + n), "path": None} for n in range(len(labels))], IMAGE)
    label = pa.array(list(labels)) if isinstance(labels, tuple | list) else labels
    made = pa.table({"image": images, "label": label, **more})
    if names is None:
        return made
    features = {"features": {"label": {"names": names, "_type": "ClassLabel"}}}
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": features})})


def write_parquet(path: Path, made: pa.Table | None = None, rows: int = 2) -> Path:
    """Write a table in row groups of so many rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table() if made is None else made, path, row_group_size=rows)
    return path
