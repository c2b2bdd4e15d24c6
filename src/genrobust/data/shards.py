"""Generated datasets on disk: artifacts whose parts are shards."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from genrobust.core import (
    MANIFEST,
    Artifact,
    ClassLabel,
    GenrobustError,
    ImageSet,
    LabelSpace,
    Manifest,
    UserError,
    digest,
    made_by,
    make_folder,
    reading,
)
from genrobust.data.naming import readable_names
from genrobust.data.reading import read_image
from genrobust.data.shard_files import GIVEN_UP, OK, SCHEMA, is_key, schema_of, shard_name, shard_rows, tar_of

MOST_SHARDS = 10**6
NAMES = "class_names"  # in a manifest: the names of the classes in the user's data, each with the one to show
_HASH_BYTES = 32
# What opening a dataset reads; the rest is read when asked for, since a large dataset has a million rows.
_INDEX = ("key", "label", "style", "offset", "size", "image_sha256", "status", "reason")
_FAULTS = ("black", "blank", "nan", "unsafe")
USED = ("status", "reason", "redraws", *_FAULTS)  # the columns that `making` counts


@dataclass(frozen=True, slots=True)
class Making:
    """Counts over the requests of a dataset.

    Of `requests`, `given_up` gave no image (`reasons` counts why) and `redrawn` were drawn more than once. `faults`
    counts the requests with a draw that was black, blank (one flat color), not a number, or unsafe.
    """

    requests: int
    given_up: int
    redrawn: int
    faults: dict[str, int]
    reasons: dict[str, int]


def begin_dataset(folder: Path, about: Mapping[str, Any], inputs: Mapping[str, Any] | None = None) -> None:
    """Begin a dataset in `folder`, unless it was begun there before.

    Args:
        about: All that decides its images, as flat JSON with ``shards`` (their number) among its keys, and the names of
            its classes (`NAMES`), which do not.
        inputs: What the folder is named after, if it is named by a hash.

    Raises:
        UserError: The folder holds another dataset (the message names what differs) or other files, or cannot be
            written.
        GenrobustError: The manifest is damaged.
    """
    make_folder(folder)
    inputs = inputs or {}
    Artifact(folder).begin(Manifest("dataset", inputs, about, made_by("dataset", inputs.get("plugins", ()))))
    wanted, existing = json.loads(json.dumps(about)), read_about(folder)
    keys = sorted((wanted.keys() | existing.keys()) - {NAMES})
    differing = [k for k in keys if wanted.get(k) != existing.get(k)]
    if differing:
        rows = [f"  {k}: there {_short(existing.get(k))}, asked for {_short(wanted.get(k))}" for k in differing]
        problem = f"{folder} holds another dataset: choose another folder, or delete that one"
        raise UserError("\n".join([problem, *rows]))


def finish_dataset(folder: Path) -> None:
    """Publish the dataset in `folder` if all shards are done, or reopen it if one was set aside since."""
    dataset = Artifact(folder)
    total = read_about(folder)["shards"]
    complete = not missing_shards(folder, total)
    if complete and not dataset.is_finished:
        dataset.publish(dataset.manifest(), names=(), parts=map(shard_name, range(total)))
    elif not complete:
        dataset.reopen()


def is_dataset(folder: Path) -> bool:
    """Return whether an artifact is in `folder`, finished or not. Reading it fails if it is of another kind.

    A ``manifest.json`` of another program makes no artifact.
    """
    dataset = Artifact(folder)
    return (dataset.is_finished or dataset.is_begun) and not dataset.is_foreign


def read_about(folder: Path) -> dict[str, Any]:
    """Read what decides the images of the dataset in `folder`, as flat JSON.

    Raises:
        UserError: There is no dataset, or one of another version of genrobust.
        GenrobustError: The manifest is damaged.
    """
    if not is_dataset(folder):
        raise UserError(
            f"{folder} holds no generated dataset (image folders can be audited and benchmarked, and neither "
            f"filtered, verified nor exported): there is no {MANIFEST}"
        )
    manifest = Artifact(folder).manifest()
    about = dict(manifest.about)
    shards, ids = about.get("shards"), about.get("class_ids", [])
    names = about.get(NAMES, dict.fromkeys(map(str, ids), "") if isinstance(ids, list) else None)
    is_right = {
        "kind": manifest.kind == "dataset",
        "shards": type(shards) is int and 0 <= shards <= MOST_SHARDS,
        "class_ids": isinstance(ids, list) and len({id for id in ids if type(id) is str}) == len(ids),
        NAMES: isinstance(ids, list)
        and isinstance(names, dict)
        and len(names) == len(ids)
        and all(type(shown) is str for shown in names.values()),
    }
    if wrong := [key for key, right in is_right.items() if not right]:
        raise UserError(f"{folder / MANIFEST} is that of no dataset of images: look at its {wrong[0]}")
    return about


def missing_shards(folder: Path, total: int) -> list[int]:
    """Return which of `total` shards are not done in `folder`, ascending; all of them where there is no such folder.

    Of a folder at a URL, those that others made count.
    """
    Artifact(folder).fetch()
    return [index for index in range(total) if not (folder / f"{shard_name(index)}.json").exists()]


def require_complete(folder: Path) -> None:
    """Raise UserError where shards of the dataset in `folder` are missing."""
    total = read_about(folder)["shards"]
    if missing := len(missing_shards(folder, total)):
        lacking = f"{missing} of {total} shards are missing"
        raise UserError(f"{folder} is not complete: {lacking}; generate again, and only they are made")


def discard_shards(folder: Path, total: int) -> None:
    """Have all of `total` shards in `folder` made again, by removing the manifest of each."""
    for index in range(total):
        Artifact(folder).discard_part(shard_name(index))


def done_shards(folder: Path) -> list[int]:
    """Return the indices of the shards that are done, ascending.

    Raises:
        GenrobustError: A file of a shard is missing or has another size than was written.
            This check is cheap enough to make always.
    """
    dataset, total = Artifact(folder), read_about(folder)["shards"]
    done = sorted(set(range(total)) - set(missing_shards(folder, total)))
    for index in done:
        shard = dataset.part(shard_name(index))
        if shard is not None and (lacking := dataset.lacks(shard.files)):
            problem = f"{folder / lacking[0]} is missing, or has another size than was written"
            raise GenrobustError(f"{problem}: {dataset.remedy}")
    return done


class ShardDataset(ImageSet):
    """A generated dataset, as an ImageSet: the images of its done shards, in the order of their requests.

    Attributes:
        about: What decides its images, as flat JSON, and the names of its classes.
        labels: int64 [N], indices into `class_ids`.
        label_names: The classes by the names that they have in the user's data.
        given_up: The reason by the key of each request that gave no image.
    """

    def __init__(self, folder: Path, *, allow_partial: bool = False) -> None:
        """Open the dataset in `folder`.

        Raises:
            UserError: Shards are missing, unless `allow_partial`.
            GenrobustError: A shard is damaged.
        """
        self.folder = Path(folder)
        self.name = "generated"
        self._artifact = Artifact(self.folder)
        self.about = read_about(self.folder)
        self.class_ids: tuple[str, ...] = tuple(self.about.get("class_ids", ()))
        self.label_names: tuple[str, ...] = tuple(self.about.get(NAMES, self.class_ids))
        self._done = done_shards(self.folder)
        if not allow_partial:
            require_complete(self.folder)
        self.given_up: dict[str, str] = {}
        self._read_index()
        decisive = {key: value for key, value in self.about.items() if key != NAMES}
        self.fingerprint = digest([decisive, [(index, self._tar_sha256(index)) for index in self._done]])

    def label_space(self) -> LabelSpace:
        """Return the classes by their names to show, which are their prompts, too.

        Raises:
            UserError: There are fewer than two classes.
        """
        names = self.about.get(NAMES) or readable_names(self.class_ids)
        classes = zip(self.class_ids, names.items(), strict=True)
        labels = tuple(ClassLabel(id, shown, shown, name) for id, (name, shown) in classes)
        return LabelSpace(labels, shared_prompts=True)

    def _tar_sha256(self, index: int) -> str:
        shard = self._artifact.part(shard_name(index))
        assert shard is not None  # it is done
        return shard.files[tar_of(self.folder, index).name].sha256

    def _read_index(self) -> None:
        """Read what is held of every image, about 200 bytes each: a dataset may have millions."""
        keys: list[str] = []
        styles: list[str] = []
        columns: dict[str, list[np.ndarray]] = {name: [] for name in ("label", "offset", "size")}
        counts, hashes, then = [], [], self._artifact.remedy
        self._artifact.fetch_files(f"{shard_name(index)}.parquet" for index in self._done)
        for index in self._done:  # one at a time, so that only what is kept of them is in memory together
            rows = shard_rows(self.folder, index, _INDEX)
            ok, given_up = _with_status(rows, OK), _with_status(rows, GIVEN_UP)
            self.given_up |= zip(given_up["key"].to_pylist(), given_up["reason"].to_pylist(), strict=True)
            counts.append(ok.num_rows)
            keys += ok["key"].to_pylist()
            styles += (sys.intern(style or "") for style in ok["style"].to_pylist())
            path = self.folder / f"{shard_name(index)}.parquet"
            with reading(f"the hashes in {path}", TypeError, ValueError, then=f": {then}", kind=GenrobustError):
                hashes.append(bytes.fromhex("".join(ok["image_sha256"].to_pylist())))
            for name, parts in columns.items():
                parts.append(ok[name].to_numpy())
        joined = {name: np.concatenate([np.empty(0, np.int64), *parts]) for name, parts in columns.items()}
        self.labels = joined["label"]
        if self.class_ids and len(keys) and not 0 <= self.labels.min() <= self.labels.max() < len(self.class_ids):
            raise GenrobustError(
                f"{self.folder} has images of other classes than the {len(self.class_ids)} in {MANIFEST}"
            )
        if (odd := next((key for key in keys if not is_key(key)), None)) is not None:  # an export makes a name of it
            problem = f"an image of the key {odd[:80]!a}, which genrobust did not write"
            raise GenrobustError(f"{self.folder} has {problem}: {then}")
        self.keys = keys
        self.styles = styles
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
            return read_image(data, f"{self.keys[index]} in {tar_of(self.folder, int(self._shard[index]))}")
        except UserError as error:
            raise GenrobustError(str(error)) from None

    def encoded(self, index: int) -> bytes:
        """Return the bytes of image `index`.

        Raises:
            GenrobustError: They have changed since they were written; the message names the shard and the key.
        """
        path = tar_of(self.folder, int(self._shard[index]))
        self._artifact.fetch_files([path.name])
        with reading(path, kind=GenrobustError), path.open("rb") as file:
            file.seek(int(self._offset[index]))
            data = file.read(int(self._size[index]))
        start = index % len(self) * _HASH_BYTES
        if hashlib.sha256(data).digest() != self._sha256[start : start + _HASH_BYTES]:
            problem = f"the image {self.keys[index]} in {path} has changed since it was written"
            raise GenrobustError(f"{problem}: {self._artifact.remedy}")
        return data

    def known_contents(self) -> np.ndarray:
        return np.frombuffer(self._sha256, dtype=np.uint8).reshape(-1, _HASH_BYTES)

    def metadata(self, columns: Sequence[str] = tuple(SCHEMA.names)) -> pa.Table:
        """Return one row a request of the done shards, given-up ones too, with `columns` of `SCHEMA`."""
        return pa.concat_tables(
            [schema_of(columns).empty_table(), *(shard_rows(self.folder, i, columns) for i in self._done)]
        )

    def describe_copies(self) -> str:
        """Describe the copies among the images where most are one; "" elsewhere.

        Images from different seeds differ in some byte. Two plain drawings may be alike; most images are alike only
        where what draws them is broken, or takes no seed and has one prompt for each class.
        """
        copies = len(self) - len(np.unique(np.frombuffer(self._sha256, f"V{_HASH_BYTES}")))
        if 2 * copies <= len(self):
            return ""
        return (
            f"{copies:,} of {len(self):,} images are exact copies of others: look at them, and at whether the "
            "generator or its server follows prompts and seeds"
        )

    @property
    def is_val(self) -> bool:
        """Whether this is a validation part (`split: val`), by the keys of its images."""
        ids = (self.class_ids[label] for label in self.labels)
        return all(f"{id}-val-" in key for id, key in zip(ids, self.keys, strict=True))

    def fetch_tars(self) -> None:
        """Fetch all tars of a folder at a URL; else each is fetched when it is first read."""
        self._artifact.fetch_files(tar_of(self.folder, index).name for index in self._done)


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
