"""One shard of a generated dataset: a WebDataset tar, and a parquet sidecar that says it is done.

A shard is ``000000.tar`` (``key.png``, ``key.cls``, ``key.json``), ``000000.parquet`` (one row a request, given-up ones
too) and ``000000.sha256`` (of both, as sha256sum reads it). The parquet comes last: a shard is done when it is there.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shlex
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from genrobust.core import GenrobustError, Sample, check_hash, cores, hash_file, reading, remove, replacing, size_of
from genrobust.data.tar_writer import TarWriter

ENCODERS = 8  # threads: one disk takes no more
OK, GIVEN_UP = "ok", "given-up"
CHANGED = "has changed since it was written"

# One row a request. What a sample's or a rejected request's metadata lacks is null.
_COLUMNS = {
    "the request": "key:string label:int64 class_id:string prompt:string template:string negative_prompt:string "
    "style:string seed:int64 source:string",
    "how it was drawn": "generator:string weights_sha256:string mode:string lora:string lora_sha256:string "
    "lora_scale:float64 adapter:string adapter_file:string adapter_sha256:string adapter_scale:float64 "
    "strength:float64 scheduler:string steps:int32 guidance_scale:float64 guidance_until:float64 "
    "width:int32 height:int32 dtype:string device:string batch_size:int32 threads:int32 genrobust_version:string "
    "diffusers_version:string transformers_version:string torch_version:string",
    "redraws beyond the first draw, and what was wrong with any draw": "redraws:int32 black:bool blank:bool nan:bool "
    "unsafe:bool",
    "where it is: bytes [offset, offset + size) of the tar are the encoded image; null for a given-up request": "status"
    ":string reason:string file:string offset:int64 size:int64 image_sha256:string",
}
SCHEMA = pa.schema([tuple(column.split(":")) for columns in _COLUMNS.values() for column in columns.split()])
_LATER = ("adapter", "adapter_file", "adapter_sha256", "adapter_scale")  # a sidecar from before lacks them: null


def shard_paths(folder: Path, index: int) -> tuple[Path, Path, Path]:
    """Return the tar, the hashes and the parquet of shard `index`, in the order in which they are written."""
    tar, sums, parquet = (folder / f"{index:06d}.{kind}" for kind in ("tar", "sha256", "parquet"))
    return tar, sums, parquet


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
    tar_path, sums_path, parquet_path = shard_paths(folder, index)
    with replacing(tar_path) as file:
        with TarWriter(file) as tar:
            for sample, image in _encoded(samples):
                rows.append(_add(tar, sample, image))
        file.flush()
        facts = {"tar_sha256": hash_file(Path(file.name)), "tar_size": str(file.tell())}
        sidecar = _sidecar([*rows, *({**meta, "status": GIVEN_UP} for meta in rejected)], facts)
        remove(parquet_path)  # while it is written anew, a shard is not done
    sums = {tar_path.name: facts["tar_sha256"], parquet_path.name: hashlib.sha256(sidecar).hexdigest()}
    with replacing(sums_path) as file:
        file.write(hash_list(sums))
    with replacing(parquet_path) as file:
        file.write(sidecar)


def _sidecar(rows: list[dict[str, Any]], facts: dict[str, str]) -> bytes:
    unknown = sorted({name for row in rows for name in row} - set(SCHEMA.names))
    if unknown:
        raise ValueError(f"metadata without a column: {', '.join(unknown)}")
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA.with_metadata(facts)), buffer, compression="zstd")
    return buffer.getvalue()


def is_key(key: str) -> bool:
    """Return whether `key` can name an image in a shard: readers split names at the first dot."""
    return re.fullmatch(r"[A-Za-z0-9_-]+", key) is not None


def _encoded(samples: Iterable[Sample]) -> Iterator[tuple[Sample, bytes]]:
    """Each sample with its image as PNG, in order: an image of 512 x 512 pixels takes a core 0.1 s."""
    ahead: deque[tuple[Sample, Future[bytes]]] = deque()
    with ThreadPoolExecutor(encoders := min(ENCODERS, cores())) as pool:
        for sample in samples:
            ahead.append((sample, pool.submit(_png, sample)))
            if len(ahead) > 2 * encoders:
                first, image = ahead.popleft()
                yield first, image.result()
        yield from ((sample, image.result()) for sample, image in ahead)


def _png(sample: Sample) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(sample.image).save(buffer, format="PNG")
    return buffer.getvalue()


def _add(tar: TarWriter, sample: Sample, image: bytes) -> dict[str, Any]:
    """Append a sample's three files to `tar`; return its row, with where the image lies."""
    if not is_key(sample.key):
        raise ValueError(f"the key {sample.key!r} has characters beyond letters, digits, - and _")
    meta = {**sample.meta, "key": sample.key, "label": sample.label}
    offset = tar.add(f"{sample.key}.png", image)
    tar.add(f"{sample.key}.cls", str(sample.label).encode())
    tar.add(f"{sample.key}.json", json.dumps(meta, sort_keys=True, ensure_ascii=False).encode())
    where = {"file": f"{sample.key}.png", "offset": offset, "size": len(image)}
    return {**meta, **where, "image_sha256": hashlib.sha256(image).hexdigest(), "status": OK}


def hash_list(hashes: Mapping[str, str]) -> bytes:
    """Return the SHA-256 of a shard's files, by name, as sha256sum lists them."""
    return "".join(f"{value}  {name}\n" for name, value in hashes.items()).encode()


def shard_rows(folder: Path, index: int, columns: Sequence[str]) -> pa.Table:
    """Read one row a request of a done shard, `columns` of `SCHEMA`.

    Raises:
        GenrobustError: The shard is damaged.
    """
    with _reading_sidecar(folder, index) as sidecar:
        found = pq.ParquetFile(sidecar).read(columns=list(columns))
        for name in _LATER:
            if name in columns and name not in found.column_names:
                found = found.append_column(SCHEMA.field(name), pa.nulls(found.num_rows, SCHEMA.field(name).type))
        return found.select(list(columns)).cast(schema_of(columns))


def is_shard(parquet: Path) -> bool:
    """Return whether a parquet file is that of a shard: its metadata say what its tar was."""
    try:
        return b"tar_sha256" in (pq.read_schema(parquet).metadata or {})
    except (OSError, pa.ArrowException):
        return False


def schema_of(columns: Sequence[str]) -> pa.Schema:
    """Return the part of `SCHEMA` that has `columns`, in their order."""
    return pa.schema([SCHEMA.field(name) for name in columns])


def shard_facts(folder: Path, index: int) -> dict[str, str]:
    """Read what a done shard's parquet says of its tar: ``tar_sha256`` and ``tar_size`` in bytes.

    Raises:
        GenrobustError: The parquet is damaged.
    """
    with _reading_sidecar(folder, index) as sidecar:
        facts = pq.read_schema(sidecar).metadata or {}
        return {name: facts[name.encode()].decode() for name in ("tar_sha256", "tar_size")}


@contextmanager
def _reading_sidecar(folder: Path, index: int) -> Iterator[pa.BufferReader]:
    """Yield the content of a shard's parquet, which is what the shard's list of hashes says, to be parsed."""
    _, sums, parquet = shard_paths(folder, index)
    then = f": {remedy(folder)}"
    with reading(sums, then=then, kind=GenrobustError):
        listed = sums.read_bytes()
    with reading(parquet, pa.ArrowException, ValueError, KeyError, then=then, kind=GenrobustError):
        content = parquet.read_bytes()
        if hash_list({parquet.name: hashlib.sha256(content).hexdigest()}) not in listed:
            raise ValueError(f"it {CHANGED}, or {sums.name}, which lists its hash, has")
        yield pa.BufferReader(content)


def check_listed(tar: Path) -> None:
    """Compare a tar with the list of hashes beside it, where that lists it; a process reads the tar once.

    Raises:
        GenrobustError: The tar differs.
    """
    sums = tar.with_suffix(".sha256")
    listed = sums.read_text(encoding="utf-8", errors="replace") if sums.is_file() else ""
    for line in listed.splitlines():
        sha256, _, name = line.partition("  ")
        if name == tar.name:
            with reading(tar, ValueError, then=f": {remedy(tar.parent)}", kind=GenrobustError):
                check_hash(tar, sha256)


def tar_problem(folder: Path, index: int) -> str:
    """Return "" where a done shard's tar has the size in which it was written, or what is wrong."""
    path, size = shard_paths(folder, index)[0], shard_facts(folder, index)["tar_size"]
    try:
        actual = size_of(path)
    except OSError as error:
        return f"cannot read {path}: {error.strerror}"
    return "" if str(actual) == size else f"{path} has {actual} bytes instead of {size}"


def remedy(folder: Path) -> str:
    """Return what to do about a damaged shard in `folder`."""
    return f"genrobust verify {shlex.quote(str(folder))} --repair sets it aside; generate again, and it alone is made"
