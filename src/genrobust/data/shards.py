"""Generated datasets on disk: a folder of shards, with a ``manifest.json`` that says what the dataset is."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from genrobust.core import (
    GenrobustError,
    Making,
    UserError,
    digest,
    fetch,
    fetch_file,
    fetch_files,
    make_folder,
    reading,
    replacing,
    sealed,
    unsealed,
)
from genrobust.data.reading import read_image
from genrobust.data.shard_files import (
    GIVEN_UP,
    OK,
    SCHEMA,
    is_key,
    remedy,
    schema_of,
    shard_facts,
    shard_paths,
    shard_rows,
    tar_problem,
)

FORMAT = 2  # of the folder; a reader refuses one that it does not know
MANIFEST = "manifest.json"
MOST_SHARDS = 10**6
_HASH_BYTES = 32
_NUMBER = 6 * "[0-9]"  # of a shard, in the pattern of its files
# What opening a dataset reads; the rest is read when asked for, since a large dataset has a million rows.
_INDEX = ("key", "label", "style", "offset", "size", "image_sha256", "status", "reason")
_FAULTS = ("black", "blank", "nan", "unsafe")
USED = ("status", "reason", "redraws", *_FAULTS)  # the columns that `making` counts


def create_dataset(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Make `folder` the dataset that `manifest` describes, where it is not already.

    Args:
        manifest: Flat JSON with ``shards`` (their number) among its keys.

    Raises:
        UserError: The folder holds another dataset (the message names what differs) or other files, or cannot be
            written.
    """
    make_folder(folder)
    wanted = {"format": FORMAT, **json.loads(json.dumps(manifest))}
    if (folder / MANIFEST).exists():
        existing = read_manifest(folder)
        differing = [k for k in sorted(wanted.keys() | existing.keys()) if wanted.get(k) != existing.get(k)]
        if differing:
            rows = [f"  {k}: there {_short(existing.get(k))}, asked for {_short(wanted.get(k))}" for k in differing]
            what = f"{folder} holds another dataset: choose another folder, or delete that one"
            raise UserError("\n".join([what, *rows]))
        return
    strangers = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    if (folder / MANIFEST).exists():  # of another who shares the folder, and was as fast
        return create_dataset(folder, manifest)
    if MANIFEST in strangers:
        raise UserError(f"{folder / MANIFEST} is a link to nothing: remove it, or restore what it led to")
    if strangers:
        some = ", ".join(strangers[:3])
        raise UserError(f"{folder} holds other files ({some}) and no {MANIFEST}: choose another folder")
    with replacing(folder / MANIFEST) as file:
        file.write(sealed(wanted))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what the dataset in `folder` is.

    Raises:
        UserError: There is no dataset that this version reads.
    """
    path = folder / MANIFEST
    with reading(path, ValueError, then=": restore it, or generate into another folder"):
        if not path.exists():
            raise UserError(
                f"{folder} holds no generated dataset (image folders can be audited and benchmarked, and neither "
                f"filtered, verified nor exported): there is no {MANIFEST}"
            )
        manifest = unsealed(path.read_bytes())
    version, shards, ids = manifest.get("format"), manifest.get("shards"), manifest.get("class_ids", [])
    if version != FORMAT or not isinstance(shards, int) or isinstance(shards, bool):
        raise UserError(f"{path} is of format {version!r}; this version of genrobust reads format {FORMAT}")
    if not 0 <= shards <= MOST_SHARDS:
        raise UserError(f"{path}: shards is {shards}; their numbers have six digits, so that there are 0 to a million")
    if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids) or len(set(ids)) < len(ids):
        raise UserError(f"{path}: class_ids is no list of ids, each of which comes once")
    return manifest


def missing_shards(folder: Path, total: int) -> list[int]:
    """Return which of `total` shards are not done in `folder`, ascending; all of them where there is no such folder.

    Where it mirrors a remote, what others made is fetched first, except the tars.
    """
    fetch(folder, MANIFEST, f"{_NUMBER}.sha256", f"{_NUMBER}.parquet", later=(f"{_NUMBER}.tar",))
    return [index for index in range(total) if not shard_paths(folder, index)[-1].exists()]


def done_shards(folder: Path) -> list[int]:
    """Return the indices of the shards that are done, ascending.

    Raises:
        GenrobustError: The tar of a shard is missing or has another size than was written.
            This check is cheap enough to make always.
    """
    total = read_manifest(folder)["shards"]
    done = sorted(set(range(total)) - set(missing_shards(folder, total)))
    for index in done:
        problem = tar_problem(folder, index)
        if problem:
            raise GenrobustError(f"{problem}: {remedy(folder)}")
    return done


class ShardDataset:
    """A generated dataset, as an ImageSet: the images of its done shards, in the order of their requests.

    Attributes:
        labels: int64 [N], indices into `class_ids`.
        given_up: The reason by the key of each request that gave no image.
    """

    def __init__(self, folder: Path, *, allow_partial: bool = False, name: str = "generated") -> None:
        """Open the dataset in `folder`.

        Raises:
            UserError: Shards are missing, unless `allow_partial`.
            GenrobustError: A shard is damaged.
        """
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
        counts, hashes, then = [], [], remedy(self.folder)
        for index in self._done:  # one at a time, so that only what is kept of them is in memory together
            rows = shard_rows(self.folder, index, _INDEX)
            kept, given_up = _with_status(rows, OK), _with_status(rows, GIVEN_UP)
            self.given_up |= zip(given_up["key"].to_pylist(), given_up["reason"].to_pylist(), strict=True)
            counts.append(kept.num_rows)
            keys += kept["key"].to_pylist()
            styles += (sys.intern(style or "") for style in kept["style"].to_pylist())
            path = shard_paths(self.folder, index)[-1]
            with reading(f"the hashes in {path}", TypeError, ValueError, then=f": {then}", kind=GenrobustError):
                hashes.append(bytes.fromhex("".join(kept["image_sha256"].to_pylist())))
            for name, parts in columns.items():
                parts.append(kept[name].to_numpy())
        joined = {name: np.concatenate([np.empty(0, np.int64), *parts]) for name, parts in columns.items()}
        self.labels: np.ndarray = joined["label"]
        if self.class_ids and len(keys) and not 0 <= self.labels.min() <= self.labels.max() < len(self.class_ids):
            raise GenrobustError(
                f"{self.folder} has images of other classes than the {len(self.class_ids)} in {MANIFEST}"
            )
        if (odd := next((key for key in keys if not is_key(key)), None)) is not None:  # an export makes a name of it
            what = f"an image of the key {odd[:80]!a}, which genrobust did not write"
            raise GenrobustError(f"{self.folder} has {what}: {then}")
        self.keys: Sequence[str] = keys
        self.styles: Sequence[str] = styles
        self._shard = np.repeat(np.array(self._done, np.int64), counts)
        self._offset, self._size, self._sha256 = joined["offset"], joined["size"], b"".join(hashes)

    def __len__(self) -> int:
        return len(self.keys)

    def image(self, index: int) -> Image.Image:
        """Return image `index` as RGB.

        Raises:
            GenrobustError: The image has changed since it was written, or cannot be decoded.
        """
        data = self.encoded(index)
        try:
            return read_image(data, f"{self.keys[index]} in {shard_paths(self.folder, int(self._shard[index]))[0]}")
        except UserError as error:
            raise GenrobustError(str(error)) from None

    def encoded(self, index: int) -> bytes:
        """Return the bytes of image `index`.

        Raises:
            GenrobustError: They have changed since they were written; the message names the shard and the key.
        """
        path = shard_paths(self.folder, int(self._shard[index]))[0]
        with reading(path, kind=GenrobustError), fetch_file(path).open("rb") as file:
            file.seek(int(self._offset[index]))
            data = file.read(int(self._size[index]))
        start = index % len(self) * _HASH_BYTES
        if hashlib.sha256(data).digest() != self._sha256[start : start + _HASH_BYTES]:
            what = f"the image {self.keys[index]} in {path} has changed since it was written"
            raise GenrobustError(f"{what}: {remedy(self.folder)}")
        return data

    def metadata(self, columns: Sequence[str] = tuple(SCHEMA.names)) -> pa.Table:
        """Return one row a request of the done shards, given-up ones too, with `columns` of `SCHEMA`."""
        return pa.concat_tables(
            [schema_of(columns).empty_table(), *(shard_rows(self.folder, i, columns) for i in self._done)]
        )

    def fetch_tars(self) -> None:
        """Fetch all tars, where the folder mirrors a remote; else each is fetched when it is first read."""
        fetch_files([shard_paths(self.folder, index)[0] for index in self._done])

    def missing(self) -> list[int]:
        """Return the indices of the shards that are not done."""
        return sorted(set(range(self.manifest["shards"])) - set(self._done))


def making(metadata: pa.Table) -> Making:
    """Count over a dataset's metadata, one row a request, as `ShardDataset.metadata` returns it."""
    columns = {name: metadata[name].to_pylist() for name in USED}
    reasons = Counter(r or "" for r, s in zip(columns["reason"], columns["status"], strict=True) if s == GIVEN_UP)
    faults = {name: sum(map(bool, columns[name])) for name in _FAULTS}
    redrawn = sum(map(bool, columns["redraws"]))
    return Making(metadata.num_rows, reasons.total(), redrawn, faults, dict(sorted(reasons.items())))


def _with_status(table: pa.Table, status: str) -> pa.Table:
    return table.filter(pc.equal(table["status"], status))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:60]} ... ({digest(value)})"
