"""Write and read one shard of a generated dataset: a WebDataset tar with a parquet sidecar.

A shard is ``000000.tar`` (``key.png``, ``key.cls``, ``key.json``), ``000000.parquet`` (one row per request, also if it
gave no image) and its manifest ``000000.json``. The manifest is written last: a shard is done when it exists.
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

from genrobust.core import GenrobustError, Sample, cores, reading
from genrobust.store import Artifact, is_ours, replacing

ENCODERS = 8  # threads that encode images: more would wait for the disk
AHEAD = 64  # images that wait to be encoded while the next are generated
OK, GIVEN_UP = "ok", "given-up"

# Columns of the sidecar, with one row per request. A value that does not apply is null.
_COLUMNS = {
    "the request": """
        key:string label:int64 class_id:string prompt:string template:string negative_prompt:string style:string
        seed:int64 source:string
    """,
    "how it was generated": """
        generator:string weights_sha256:string mode:string lora:string lora_sha256:string lora_scale:float64
        adapter:string adapter_file:string adapter_sha256:string adapter_scale:float64 strength:float64 scheduler:string
        steps:int32 guidance_scale:float64 width:int32 height:int32 dtype:string device:string batch_size:int32
        threads:int32 genrobust_version:string diffusers_version:string transformers_version:string torch_version:string
    """,
    "draws after the first, and the faults of any draw": "redraws:int32 black:bool blank:bool nan:bool unsafe:bool",
    # Bytes [offset, offset + size) of the tar are the encoded image. They are null if the request gave no image.
    "where the image is": "status:string reason:string file:string offset:int64 size:int64 image_sha256:string",
}
SCHEMA = pa.schema([tuple(column.split(":")) for columns in _COLUMNS.values() for column in columns.split()])


def shard_name(index: int) -> str:
    """Return the name of shard `index`: its files have this stem."""
    return f"{index:06d}"


def tar_of(folder: Path, index: int) -> Path:
    return folder / f"{shard_name(index)}.tar"


def write_shard(folder: Path, index: int, samples: Iterable[Sample], rejected: Sequence[Mapping[str, Any]]) -> None:
    """Write shard `index`: the images of `samples` as PNG in their order, and a row per sample and rejected request.

    The bytes depend on the arguments only. If `samples` raises, no half-written shard remains.

    Args:
        rejected: Metadata with ``reason`` of the requests that gave no image. It is read after the last sample.

    Raises:
        GenrobustError: The system refuses to write.
        ValueError: Readers would split a key, or metadata has no column.
    """
    artifact = Artifact(folder)
    name = shard_name(index)
    tar_path = folder / f"{name}.tar"
    parquet_path = folder / f"{name}.parquet"
    rows: list[dict[str, Any]] = []
    with replacing(tar_path) as file:
        with tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:  # PAX: names of any length
            for sample, png in _encode(samples):
                rows.append(_add_sample(tar, sample, png))
        images = len(rows)
        rows += [{**metadata, "status": GIVEN_UP} for metadata in rejected]
        sidecar = _parquet_bytes(rows)
        # The old shard is not done from here on, because its files are replaced one after the other.
        artifact.discard_part(name)
    with replacing(parquet_path) as file:
        file.write(sidecar)
    about = {"images": images, "given_up": len(rejected)}
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


def _encode(samples: Iterable[Sample]) -> Iterator[tuple[Sample, bytes]]:
    """Yield each sample with its image as PNG, in order. An image of 512 x 512 pixels takes a core 0.1 s."""
    waiting: deque[tuple[Sample, Future[bytes]]] = deque()
    with ThreadPoolExecutor(min(ENCODERS, cores())) as pool:
        for sample in samples:
            waiting.append((sample, pool.submit(_encode_png, sample)))
            if len(waiting) > AHEAD:
                first, png = waiting.popleft()
                yield first, png.result()
        for sample, png in waiting:
            yield sample, png.result()


def _encode_png(sample: Sample) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(sample.image).save(buffer, format="PNG")
    return buffer.getvalue()


def _add_sample(tar: tarfile.TarFile, sample: Sample, png: bytes) -> dict[str, Any]:
    """Append the three files of a sample to `tar`. Return its row."""
    if not is_key(sample.key):
        raise ValueError(f"the key {sample.key!r} has characters beyond letters, digits, - and _")
    meta = {**sample.meta, "key": sample.key, "label": sample.label}
    offset = add_file(tar, f"{sample.key}.png", png)
    add_file(tar, f"{sample.key}.cls", str(sample.label).encode())
    add_file(tar, f"{sample.key}.json", json.dumps(meta, sort_keys=True, ensure_ascii=False).encode())
    place = {"file": f"{sample.key}.png", "offset": offset, "size": len(png)}
    return {**meta, **place, "image_sha256": hashlib.sha256(png).hexdigest(), "status": OK}


def shard_rows(folder: Path, index: int, columns: Sequence[str]) -> pa.Table:
    """Read `columns` of `SCHEMA` of a done shard, with one row per request."""
    artifact, name = Artifact(folder), shard_name(index)
    parquet = artifact.path(f"{name}.parquet", name)
    with reading(
        parquet, pa.ArrowException, ValueError, KeyError, then=f": {artifact.remedy_of(name)}", kind=GenrobustError
    ):
        return pq.ParquetFile(parquet).read(columns=list(columns)).select(list(columns)).cast(schema_of(columns))


def schema_of(columns: Sequence[str]) -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in columns])


def check_tar(tar: Path) -> None:
    """Compare a tar with its manifest if genrobust wrote it. A process reads each tar once."""
    manifest = tar.with_suffix(".json")
    if manifest.is_file() and is_ours(manifest):
        Artifact(tar.parent).path(tar.name, tar.stem)


def add_file(tar: tarfile.TarFile, name: str, payload: bytes) -> int:
    """Append a file to `tar`, without time, owner or path. Return the offset of its first byte."""
    entry = tarfile.TarInfo(name)  # mtime 0, no owner, mode 0644
    entry.size = len(payload)
    tar.addfile(entry, io.BytesIO(payload))
    blocks = -(-len(payload) // tarfile.BLOCKSIZE)  # rounded up
    return tar.offset - blocks * tarfile.BLOCKSIZE
