"""Generated datasets on disk: WebDataset tars, each with a parquet sidecar that says it is done.

A folder holds ``manifest.json`` and, for each shard, ``000000.tar`` (``key.png``, ``key.cls``, ``key.json``),
``000000.parquet`` (one row a request, given-up ones too) and ``000000.sha256`` (of both, as sha256sum reads it). The
parquet comes last: a shard is done when it is there.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from genrobust.core import (
    GenrobustError,
    Sample,
    UserError,
    at_hand,
    bring,
    digest,
    fetch,
    hash_file,
    make_folder,
    remove,
    replacing,
    size_of,
)
from genrobust.data.tar_writer import TarWriter

FORMAT = 1  # of the folder; a reader refuses one that it does not know
MANIFEST = "manifest.json"
OK, GIVEN_UP = "ok", "given-up"

# One row a request. What a sample's or a rejected request's metadata lacks is null.
SCHEMA = pa.schema(
    [
        # the request
        ("key", pa.string()),
        ("label", pa.int64()),
        ("class_id", pa.string()),
        ("prompt", pa.string()),
        ("template", pa.string()),
        ("negative_prompt", pa.string()),
        ("style", pa.string()),
        ("seed", pa.int64()),
        ("source", pa.string()),
        # how it was drawn
        ("generator", pa.string()),
        ("weights_sha256", pa.string()),
        ("mode", pa.string()),
        ("lora", pa.string()),
        ("lora_sha256", pa.string()),
        ("lora_scale", pa.float64()),
        ("strength", pa.float64()),
        ("scheduler", pa.string()),
        ("steps", pa.int32()),
        ("guidance_scale", pa.float64()),
        ("guidance_until", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("dtype", pa.string()),
        ("device", pa.string()),
        ("batch_size", pa.int32()),
        ("threads", pa.int32()),
        ("genrobust_version", pa.string()),
        ("diffusers_version", pa.string()),
        ("transformers_version", pa.string()),
        ("torch_version", pa.string()),
        # what came out: redraws beyond the first draw, and what was wrong with any draw
        ("redraws", pa.int32()),
        ("black", pa.bool_()),
        ("blank", pa.bool_()),
        ("nan", pa.bool_()),
        ("unsafe", pa.bool_()),
        # where it is: bytes [offset, offset + size) of the tar are the encoded image; null for a given-up request
        ("status", pa.string()),
        ("reason", pa.string()),
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("image_sha256", pa.string()),
    ]
)
LATER = ("guidance_until",)  # columns that datasets of the same format may lack, from before there were these
_HASH_BYTES = 32
_NUMBER = 6 * "[0-9]"  # of a shard, in the pattern of its files
# What opening a dataset reads; the rest is read when asked for, since a large dataset has a million rows.
_INDEX = ("key", "label", "style", "offset", "size", "image_sha256", "status", "reason")


# --------------------------------------------------------------------------------------------- writing


def claim(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Make `folder` the dataset that `manifest` describes, or find that it is already.

    `manifest` is flat JSON with ``shards`` (their number) among its keys. Raises UserError where the folder holds
    another dataset, naming what differs, or files of another kind, and where it cannot be written.
    """
    make_folder(folder)
    wanted = {"format": FORMAT, **json.loads(json.dumps(manifest))}
    if (folder / MANIFEST).exists():
        found = read_manifest(folder)
        differing = [k for k in sorted(wanted.keys() | found.keys()) if wanted.get(k) != found.get(k)]
        if differing:
            rows = [f"  {k}: there {_short(found.get(k))}, asked for {_short(wanted.get(k))}" for k in differing]
            what = f"{folder} holds another dataset: choose another folder, or delete that one"
            raise UserError("\n".join([what, *rows]))
        return
    strangers = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    if MANIFEST in strangers:  # of another who shares the folder, and was as fast
        return claim(folder, manifest)
    if strangers:
        some = ", ".join(strangers[:3])
        raise UserError(f"{folder} holds other files ({some}) and no {MANIFEST}: choose another folder")
    with replacing(folder / MANIFEST) as file:
        file.write(json.dumps(wanted, indent=1, ensure_ascii=False).encode())


def write_shard(folder: Path, index: int, samples: Iterable[Sample], rejected: Sequence[Mapping[str, Any]]) -> None:
    """Write shard `index`: the images of `samples` as PNG, as they come, and a row for each of them and of `rejected`.

    `rejected` holds metadata with ``reason`` for the requests that gave no image; it is read after the last sample. The
    bytes depend on the arguments alone. Raises GenrobustError where the system refuses, and what `samples` raises,
    leaving nothing half written.
    """
    rows: list[dict[str, Any]] = []
    tar_path, sums_path, parquet_path = shard_files(folder, index)
    with replacing(tar_path) as file:
        with TarWriter(file) as tar:
            for sample in samples:
                rows.append(_add(tar, sample))
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


def _add(tar: TarWriter, sample: Sample) -> dict[str, Any]:
    """Append a sample's three files to `tar`; its row, with where the image lies."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", sample.key):  # readers split names at the first dot
        raise ValueError(f"the key {sample.key!r} has characters beyond letters, digits, - and _")
    meta = {**sample.meta, "key": sample.key, "label": sample.label}
    buffer = io.BytesIO()
    Image.fromarray(sample.image).save(buffer, format="PNG")
    image = buffer.getvalue()
    offset = tar.add(f"{sample.key}.png", image)
    tar.add(f"{sample.key}.cls", str(sample.label).encode())
    tar.add(f"{sample.key}.json", json.dumps(meta, sort_keys=True, ensure_ascii=False).encode())
    where = {"file": f"{sample.key}.png", "offset": offset, "size": len(image)}
    return {**meta, **where, "image_sha256": hashlib.sha256(image).hexdigest(), "status": OK}


# --------------------------------------------------------------------------------------------- reading


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the dataset in `folder` is; raises UserError where there is none that this version reads."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder} holds no generated dataset: there is no {MANIFEST}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}: restore it, or generate into another folder") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT or not isinstance(manifest.get("shards"), int):
        raise UserError(f"{path} is of format {found!r}; this version of genrobust reads format {FORMAT}")
    return manifest


def missing_shards(folder: Path, total: int) -> list[int]:
    """Which of `total` shards are not done in `folder`, ascending; all of them where there is no such folder.

    Where it mirrors a remote, what others made is fetched first, but for the tars.
    """
    fetch(folder, MANIFEST, f"{_NUMBER}.sha256", f"{_NUMBER}.parquet", later=(f"{_NUMBER}.tar",))
    return [index for index in range(total) if not shard_files(folder, index)[-1].exists()]


def done_shards(folder: Path) -> list[int]:
    """The indices of the shards that are done, ascending.

    Raises GenrobustError for one whose tar is gone or has another size than was written: cheap, so looked at always.
    """
    total = read_manifest(folder)["shards"]
    done = sorted(set(range(total)) - set(missing_shards(folder, total)))
    for index in done:
        problem = tar_problem(folder, index)
        if problem:
            raise GenrobustError(f"{problem}: {_remedy(folder)}")
    return done


class ShardDataset:
    """A generated dataset, as an ImageSet: the images of its done shards, in the order of their requests.

    `labels` int64 [N] index the classes whose ids `class_ids` gives. `given_up` maps the key of each request that gave
    no image to the reason.
    """

    def __init__(self, folder: Path, *, allow_partial: bool = False, name: str = "generated") -> None:
        """Raises UserError where shards are missing, unless `allow_partial`, and GenrobustError for a damaged one."""
        self.folder = Path(folder)
        self.name = name
        self.manifest = read_manifest(self.folder)
        self.class_ids: tuple[str, ...] = tuple(self.manifest.get("class_ids", ()))
        self._done = done_shards(self.folder)
        if self.missing() and not allow_partial:
            lacking = f"{len(self.missing())} of {self.manifest['shards']} shards are missing"
            raise UserError(f"{self.folder} is not complete: {lacking}; generate again, and only they are made")
        self.given_up: dict[str, str] = {}
        self._read_index()
        self.fingerprint = digest([self.manifest, [(i, shard_facts(self.folder, i)["tar_sha256"]) for i in self._done]])

    def _read_index(self) -> None:
        """Read what is held of every image, about 200 bytes each: a dataset may have millions."""
        keys: list[str] = []
        styles: list[str] = []
        columns: dict[str, list[np.ndarray]] = {name: [] for name in ("label", "offset", "size")}
        counts, hashes = [], []
        for index in self._done:  # one at a time, so that only what is kept of them is in memory together
            rows = shard_rows(self.folder, index, _INDEX)
            kept, given_up = _with_status(rows, OK), _with_status(rows, GIVEN_UP)
            self.given_up |= zip(given_up["key"].to_pylist(), given_up["reason"].to_pylist(), strict=True)
            counts.append(kept.num_rows)
            keys += kept["key"].to_pylist()
            styles += (sys.intern(style or "") for style in kept["style"].to_pylist())
            hashes.append(self._hashes(index, kept["image_sha256"]))
            for name, parts in columns.items():
                parts.append(kept[name].to_numpy())
        joined = {name: np.concatenate([np.empty(0, np.int64), *parts]) for name, parts in columns.items()}
        self.labels: np.ndarray = joined["label"]
        self.keys: Sequence[str] = keys
        self.styles: Sequence[str] = styles
        self._shard = np.repeat(np.array(self._done, np.int64), counts)
        self._offset, self._size, self._sha256 = joined["offset"], joined["size"], b"".join(hashes)

    def _hashes(self, index: int, column: pa.ChunkedArray) -> bytes:
        try:
            return bytes.fromhex("".join(column.to_pylist()))
        except (TypeError, ValueError) as error:
            path = shard_files(self.folder, index)[-1]
            raise GenrobustError(f"cannot read the hashes in {path}: {error}: {_remedy(self.folder)}") from error

    def __len__(self) -> int:
        return len(self.keys)

    def image(self, index: int) -> Image.Image:
        """Image `index` as RGB; raises as `encoded` does."""
        return Image.open(io.BytesIO(self.encoded(index))).convert("RGB")

    def encoded(self, index: int) -> bytes:
        """Image `index` as it was written; raises GenrobustError, naming shard and key, where it has changed since."""
        path = shard_files(self.folder, int(self._shard[index]))[0]
        try:
            with at_hand(path).open("rb") as file:
                file.seek(int(self._offset[index]))
                data = file.read(int(self._size[index]))
        except OSError as error:
            raise GenrobustError(f"cannot read {path}: {error.strerror}") from error
        place = index % len(self) * _HASH_BYTES
        if hashlib.sha256(data).digest() != self._sha256[place : place + _HASH_BYTES]:
            what = f"the image {self.keys[index]} in {path} has changed since it was written"
            raise GenrobustError(f"{what}: {_remedy(self.folder)}")
        return data

    def metadata(self, columns: Sequence[str] = tuple(SCHEMA.names)) -> pa.Table:
        """One row a request of the done shards, `columns` of `SCHEMA`: those with an image, and those given up."""
        return pa.concat_tables(
            [_schema(columns).empty_table(), *(shard_rows(self.folder, i, columns) for i in self._done)]
        )

    def bring(self) -> None:
        """Have all tars on this machine, where the folder mirrors a remote; else each comes when it is first read."""
        bring([shard_files(self.folder, index)[0] for index in self._done])

    def missing(self) -> list[int]:
        """The indices of the shards that are not done."""
        return sorted(set(range(self.manifest["shards"])) - set(self._done))


# --------------------------------------------------------------------------------------------- one shard


def shard_files(folder: Path, index: int) -> tuple[Path, Path, Path]:
    """Where the tar, the hashes and the parquet of shard `index` lie: in the order in which they are written."""
    tar, sums, parquet = (folder / f"{index:06d}.{kind}" for kind in ("tar", "sha256", "parquet"))
    return tar, sums, parquet


def _with_status(table: pa.Table, status: str) -> pa.Table:
    return table.filter(pc.equal(table["status"], status))


def _schema(columns: Sequence[str]) -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in columns])


def hash_list(hashes: Mapping[str, str]) -> bytes:
    """The SHA-256 of a shard's files, by name, as sha256sum lists them."""
    return "".join(f"{value}  {name}\n" for name, value in hashes.items()).encode()


def shard_rows(folder: Path, index: int, columns: Sequence[str]) -> pa.Table:
    """One row a request of a done shard, `columns` of `SCHEMA`; raises GenrobustError where it cannot be read."""
    path = shard_files(folder, index)[-1]
    try:
        lacking = {*LATER} & {*columns} - {*pq.read_schema(path).names}
        rows = pq.read_table(path, columns=[name for name in columns if name not in lacking])
        for name in lacking:
            rows = rows.append_column(SCHEMA.field(name), pa.nulls(rows.num_rows, SCHEMA.field(name).type))
        return rows.select(list(columns)).cast(_schema(columns))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise GenrobustError(f"cannot read {path}: {error}: {_remedy(folder)}") from error


def shard_facts(folder: Path, index: int) -> dict[str, str]:
    """What a done shard's parquet says of its tar: ``tar_sha256`` and ``tar_size`` in bytes; raises as `shard_rows`."""
    path = shard_files(folder, index)[-1]
    try:
        facts = pq.read_schema(path).metadata or {}
        return {name: facts[name.encode()].decode() for name in ("tar_sha256", "tar_size")}
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise GenrobustError(f"cannot read {path}: {error}: {_remedy(folder)}") from error


def tar_problem(folder: Path, index: int) -> str:
    """Whether a done shard's tar is there in the size in which it was written: "", or what is wrong."""
    path, size = shard_files(folder, index)[0], shard_facts(folder, index)["tar_size"]
    try:
        found = size_of(path)
    except OSError as error:
        return f"cannot read {path}: {error.strerror}"
    return "" if str(found) == size else f"{path} has {found} bytes instead of {size}"


def _remedy(folder: Path) -> str:
    return f"genrobust verify {shlex.quote(str(folder))} --repair sets it aside; generate again, and it alone is made"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:60]} ... ({digest(value)})"
