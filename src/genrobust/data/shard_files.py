"""One shard of a generated dataset: a part of an artifact that has a WebDataset tar and a parquet sidecar.

A shard is ``000000.tar`` (``key.png``, ``key.cls``, ``key.json``), ``000000.parquet`` (one row a request, given-up ones
too) and its manifest ``000000.json``, which comes last: a shard is done when it is there.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from genrobust.core import OURS, Artifact, GenrobustError, Sample, cores, reading, replacing

ENCODERS = 8  # threads: one disk takes no more
AHEAD = 64  # images that wait to be encoded, while the next are drawn
OK, GIVEN_UP = "ok", "given-up"

# One row a request. What a sample's or a rejected request's metadata lacks is null.
_COLUMNS = {
    "the request": "key:string label:int64 class_id:string prompt:string template:string negative_prompt:string "
    "style:string seed:int64 source:string",
    "how it was drawn": "generator:string weights_sha256:string mode:string lora:string lora_sha256:string "
    "lora_scale:float64 adapter:string adapter_file:string adapter_sha256:string adapter_scale:float64 "
    "strength:float64 scheduler:string steps:int32 guidance_scale:float64 "
    "width:int32 height:int32 dtype:string device:string batch_size:int32 threads:int32 genrobust_version:string "
    "diffusers_version:string transformers_version:string torch_version:string",
    "redraws beyond the first draw, and what was wrong with any draw": "redraws:int32 black:bool blank:bool nan:bool "
    "unsafe:bool",
    "where it is: bytes [offset, offset + size) of the tar are the encoded image; null for a given-up request": "status"
    ":string reason:string file:string offset:int64 size:int64 image_sha256:string",
}
SCHEMA = pa.schema([tuple(column.split(":")) for columns in _COLUMNS.values() for column in columns.split()])


def shard_name(index: int) -> str:
    """Return the name of shard `index`, which the names of its files begin with."""
    return f"{index:06d}"


def tar_of(folder: Path, index: int) -> Path:
    """Return the tar of shard `index`."""
    return folder / f"{shard_name(index)}.tar"


def write_shard(folder: Path, index: int, samples: Iterable[Sample], rejected: Sequence[Mapping[str, Any]]) -> None:
    """Write shard `index`: the images of `samples` as PNG, as they come, and a row for each of them and of `rejected`.

    A few threads encode. The bytes depend on the arguments alone. What `samples` raises leaves nothing half written.

    Args:
        rejected: Metadata with ``reason`` for the requests that gave no image; read after the last sample.

    Raises:
        GenrobustError: The system refuses to write.
        ValueError: A key that readers would split, or metadata without a column.
    """
    rows: list[dict[str, Any]] = []
    artifact, name = Artifact(folder), shard_name(index)
    tar_path, parquet_path = folder / f"{name}.tar", folder / f"{name}.parquet"
    with replacing(tar_path) as file:
        with tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:  # PAX: names of any length
            for sample, image in _with_png(samples):
                rows.append(_add_sample(tar, sample, image))
        sidecar = _parquet_bytes([*rows, *({**meta, "status": GIVEN_UP} for meta in rejected)])
        artifact.discard_part(name)  # while it is written anew, a shard is not done
    with replacing(parquet_path) as file:
        file.write(sidecar)
    about = {"images": len(rows), "given_up": len(rejected)}
    artifact.finish_part(name, [tar_path.name, parquet_path.name], about)


def _parquet_bytes(rows: list[dict[str, Any]]) -> bytes:
    unknown = sorted({name for row in rows for name in row} - set(SCHEMA.names))
    if unknown:
        raise ValueError(f"metadata without a column: {', '.join(unknown)}")
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()


def is_key(key: str) -> bool:
    """Return whether `key` can name an image in a shard: readers split names at the first dot."""
    return re.fullmatch(r"[A-Za-z0-9_-]+", key) is not None


def _with_png(samples: Iterable[Sample]) -> Iterator[tuple[Sample, bytes]]:
    """Each sample with its image as PNG, in order: an image of 512 x 512 pixels takes a core 0.1 s."""
    ahead: deque[tuple[Sample, Future[bytes]]] = deque()
    with ThreadPoolExecutor(min(ENCODERS, cores())) as pool:
        for sample in samples:
            ahead.append((sample, pool.submit(_png, sample)))
            if len(ahead) > AHEAD:
                first, image = ahead.popleft()
                yield first, image.result()
        yield from ((sample, image.result()) for sample, image in ahead)


def _png(sample: Sample) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(sample.image).save(buffer, format="PNG")
    return buffer.getvalue()


def _add_sample(tar: tarfile.TarFile, sample: Sample, image: bytes) -> dict[str, Any]:
    """Append a sample's three files to `tar`; return its row, with where the image lies."""
    if not is_key(sample.key):
        raise ValueError(f"the key {sample.key!r} has characters beyond letters, digits, - and _")
    meta = {**sample.meta, "key": sample.key, "label": sample.label}
    offset = add_file(tar, f"{sample.key}.png", image)
    add_file(tar, f"{sample.key}.cls", str(sample.label).encode())
    add_file(tar, f"{sample.key}.json", json.dumps(meta, sort_keys=True, ensure_ascii=False).encode())
    where = {"file": f"{sample.key}.png", "offset": offset, "size": len(image)}
    return {**meta, **where, "image_sha256": hashlib.sha256(image).hexdigest(), "status": OK}


def shard_rows(folder: Path, index: int, columns: Sequence[str]) -> pa.Table:
    """Read one row a request of a done shard, `columns` of `SCHEMA`.

    Raises:
        GenrobustError: The shard is damaged.
    """
    artifact, name = Artifact(folder), shard_name(index)
    parquet = artifact.path(f"{name}.parquet", name)
    with reading(parquet, pa.ArrowException, ValueError, KeyError, then=f": {artifact.remedy}", kind=GenrobustError):
        return pq.ParquetFile(parquet).read(columns=list(columns)).select(list(columns)).cast(schema_of(columns))


def schema_of(columns: Sequence[str]) -> pa.Schema:
    """Return the part of `SCHEMA` that has `columns`, in their order."""
    return pa.schema([SCHEMA.field(name) for name in columns])


def check_tar(tar: Path) -> None:
    """Compare a tar with the manifest of the shard that it may be of; a process reads the tar once.

    Raises:
        GenrobustError: The tar differs.
    """
    manifest = tar.with_suffix(".json")
    if manifest.is_file() and OURS in manifest.read_bytes():
        Artifact(tar.parent).path(tar.name, tar.stem)


def add_file(tar: tarfile.TarFile, name: str, payload: bytes) -> int:
    """Append a file to `tar`, whose bytes hold no time, owner or path; returns the offset of the file's first byte."""
    entry = tarfile.TarInfo(name)  # its defaults: mtime 0, no owner, mode 0644
    entry.size = len(payload)
    tar.addfile(entry, io.BytesIO(payload))
    return tar.offset - -(-len(payload) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
