"""Generated datasets on disk: artifacts that consist of shards."""

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

from genrobust.core import ClassLabel, GenrobustError, ImageSet, LabelSpace, UserError, digest, reading
from genrobust.data.class_naming import readable_names
from genrobust.data.image_files import read_image
from genrobust.data.shard_files import GIVEN_UP, OK, SCHEMA, is_key, schema_of, shard_name, shard_rows, tar_of
from genrobust.store import MANIFEST, Artifact, Manifest, make_folder

MOST_SHARDS = 10**6
# Key of the manifest: names of the classes in the user's data, each with the name to show.
NAMES = "class_names"
_HASH_BYTES = 32  # of a SHA-256
# Columns that opening a dataset reads. A large dataset has a million rows, so the others are read when needed.
_INDEX = ("key", "label", "style", "offset", "size", "image_sha256", "status", "reason")
_FAULTS = ("black", "blank", "nan", "unsafe")
USED = ("status", "reason", "redraws", *_FAULTS)  # columns that `making` counts


@dataclass(frozen=True, slots=True)
class Making:
    """Counts over the requests of a dataset.

    Attributes:
        given_up: Requests that gave no image. `reasons` counts why.
        redrawn: Requests that were drawn more than once.
        faults: Requests with a draw that was black, blank (one flat color), not a number, or unsafe.
    """

    requests: int
    given_up: int
    redrawn: int
    faults: dict[str, int]
    reasons: dict[str, int]


def begin_dataset(
    folder: Path,
    about: Mapping[str, Any],
    inputs: Mapping[str, Any] | None = None,
    makers: Mapping[str, Any] | None = None,
) -> None:
    """Begin a dataset in `folder`, unless it was begun before.

    Args:
        about: Everything that decides its images, as flat JSON, with ``shards`` (their number). `NAMES`, the names of
            its classes, are in it, too, and do not decide images.
        inputs: Values that the folder is named after, if its name has a hash.
        makers: The generator, as `made_by` returns it.
    """
    make_folder(folder)
    Artifact(folder).begin(Manifest("dataset", inputs or {}, about, makers or {}))
    wanted = json.loads(json.dumps(about))
    existing = read_about(folder)
    rows = []
    for key in sorted((wanted.keys() | existing.keys()) - {NAMES}):
        if wanted.get(key) != existing.get(key):
            rows.append(f"  {key}: there {_short(existing.get(key))}, asked for {_short(wanted.get(key))}")
    if rows:
        problem = f"{folder} holds another dataset: choose another folder, or delete that one"
        raise UserError("\n".join([problem, *rows]))


def finish_dataset(folder: Path) -> None:
    """Publish the dataset in `folder` if all shards are done. Reopen it if one was discarded since."""
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
    """Read everything that decides the images of the dataset in `folder`, as flat JSON."""
    if not is_dataset(folder):
        raise UserError(f"{folder} holds no generated dataset: there is no {MANIFEST} that genrobust wrote")
    manifest = Artifact(folder).manifest()
    about = dict(manifest.about)
    wrong = "kind" if manifest.kind != "dataset" else _find_wrong_key(about)
    if wrong:
        raise UserError(f"{folder / MANIFEST} is that of no dataset of images: look at its {wrong}")
    return about


def _find_wrong_key(about: Mapping[str, Any]) -> str:
    """Return the first key that is not as `begin_dataset` writes it. Empty if all are right."""
    shards = about.get("shards")
    if type(shards) is not int or not 0 <= shards <= MOST_SHARDS:
        return "shards"
    ids = about.get("class_ids", [])
    if not isinstance(ids, list) or len({id for id in ids if type(id) is str}) != len(ids):
        return "class_ids"
    names = about.get(NAMES, dict.fromkeys(ids, ""))
    if not isinstance(names, dict) or len(names) != len(ids) or not all(type(text) is str for text in names.values()):
        return NAMES
    return ""


def missing_shards(folder: Path, total: int) -> list[int]:
    """Return which of `total` shards in `folder` are not done, ascending. All of them if there is no such folder.

    For a folder at a URL, shards count that other machines have written.
    """
    Artifact(folder).fetch()
    return [index for index in range(total) if not (folder / f"{shard_name(index)}.json").exists()]


def require_complete(folder: Path) -> None:
    total = read_about(folder)["shards"]
    missing = len(missing_shards(folder, total))
    if missing:
        raise UserError(f"{folder}: {missing} of {total} shards are missing: generate again, and only they are made")


def discard_shards(folder: Path, total: int) -> None:
    """Remove the manifests of all `total` shards in `folder`, so that they are made again."""
    for index in range(total):
        Artifact(folder).discard_part(shard_name(index))


def done_shards(folder: Path) -> list[int]:
    """Return the indices of the shards that are done, ascending."""
    dataset = Artifact(folder)
    total = read_about(folder)["shards"]
    done = sorted(set(range(total)) - set(missing_shards(folder, total)))
    for index in done:
        shard = dataset.part(shard_name(index))
        lacking = dataset.lacks(shard.files) if shard is not None else []
        if lacking:
            remedy = dataset.remedy_of(shard_name(index))
            raise GenrobustError(f"{folder / lacking[0]} is missing, or has another size than was written: {remedy}")
    return done


class ShardDataset(ImageSet):
    """A generated dataset: the images of its done shards, in the order of their requests.

    Attributes:
        about: See `read_about`.
        labels: int64 [N], indices into `class_ids`.
        label_names: Names of the classes in the user's data.
        given_up: Reason for each request that gave no image, by key.
    """

    def __init__(self, folder: Path, *, allow_partial: bool = False) -> None:
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
        """Return the classes with their names to show. These are the prompts, too."""
        names = self.about.get(NAMES) or readable_names(self.class_ids)
        classes = zip(self.class_ids, names.items(), strict=True)
        labels = tuple(ClassLabel(id, shown, shown, name) for id, (name, shown) in classes)
        return LabelSpace(labels, shared_prompts=True)

    def _tar_sha256(self, index: int) -> str:
        shard = self._artifact.part(shard_name(index))
        assert shard is not None  # it is done
        return shard.files[tar_of(self.folder, index).name].sha256

    def _read_index(self) -> None:
        """Read keys, labels, styles, places and hashes, about 200 bytes per image: a dataset may have millions."""
        keys: list[str] = []
        styles: list[str] = []
        counts: list[int] = []
        hashes: list[bytes] = []
        columns: dict[str, list[np.ndarray]] = {"label": [], "offset": [], "size": []}
        self._artifact.fetch_files(f"{shard_name(index)}.parquet" for index in self._done)
        # One shard at a time, so that only the index of all shards is in memory.
        for index in self._done:
            rows = shard_rows(self.folder, index, _INDEX)
            given_up = _with_status(rows, GIVEN_UP)
            self.given_up |= zip(given_up["key"].to_pylist(), given_up["reason"].to_pylist(), strict=True)
            images = _with_status(rows, OK)
            counts.append(images.num_rows)
            keys += images["key"].to_pylist()
            styles += [sys.intern(style or "") for style in images["style"].to_pylist()]
            then = f": {self._artifact.remedy_of(shard_name(index))}"
            with reading(
                f"the hashes of shard {index} of {self.folder}", TypeError, ValueError, then=then, kind=GenrobustError
            ):
                hashes.append(bytes.fromhex("".join(images["image_sha256"].to_pylist())))
            for name, of_shards in columns.items():
                of_shards.append(images[name].to_numpy())
        self.keys = keys
        self.styles = styles
        self.labels, self._offset, self._size = (
            np.concatenate([np.empty(0, np.int64), *of_shards]) for of_shards in columns.values()
        )
        self._shard = np.repeat(np.array(self._done, np.int64), counts)
        self._sha256 = b"".join(hashes)
        self._check_index()

    def _check_index(self) -> None:
        """Raise GenrobustError for a label outside the classes, or a key that genrobust does not write."""
        known = range(len(self.class_ids))
        if self.class_ids and not set(np.unique(self.labels).tolist()) <= set(known):
            raise GenrobustError(f"{self.folder} has images of other classes than those in its {MANIFEST}")
        # An export names files after keys.
        for key in self.keys:
            if not is_key(key):
                raise GenrobustError(
                    f"{self.folder} has an image of the key {key[:80]!a}, which genrobust did not make"
                )

    def __len__(self) -> int:
        return len(self.keys)

    def image(self, index: int) -> Image.Image:
        data = self.encoded(index)
        try:
            return read_image(data, f"{self.keys[index]} in {tar_of(self.folder, int(self._shard[index]))}")
        except UserError as error:
            raise GenrobustError(str(error)) from None

    def encoded(self, index: int) -> bytes:
        path = tar_of(self.folder, int(self._shard[index]))
        self._artifact.fetch_files([path.name])
        with reading(path, kind=GenrobustError), path.open("rb") as file:
            file.seek(int(self._offset[index]))
            data = file.read(int(self._size[index]))
        start = index % len(self) * _HASH_BYTES
        if hashlib.sha256(data).digest() != self._sha256[start : start + _HASH_BYTES]:
            problem = f"the image {self.keys[index]} in {path} has changed since it was written"
            raise GenrobustError(f"{problem}: {self._artifact.remedy_of(path.stem)}")
        return data

    def known_contents(self) -> np.ndarray:
        return np.frombuffer(self._sha256, dtype=np.uint8).reshape(-1, _HASH_BYTES)

    def metadata(self, columns: Sequence[str] = tuple(SCHEMA.names)) -> pa.Table:
        """Read `columns` of `SCHEMA` with one row per request of the done shards, also if it gave no image."""
        tables = [shard_rows(self.folder, index, columns) for index in self._done]
        return pa.concat_tables([schema_of(columns).empty_table(), *tables])

    def describe_copies(self) -> str:
        """Describe the exact copies among the images if most are copies. Empty otherwise.

        Images from different seeds differ in some byte. Two plain drawings may be equal. Most images are equal only if
        the generator is broken, or ignores the seed and has one prompt for each class.
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
        """Download all tars of a dataset at a URL. Otherwise each is downloaded when it is first read."""
        self._artifact.fetch_files(tar_of(self.folder, index).name for index in self._done)


def making(metadata: pa.Table) -> Making:
    """Count over the metadata of a dataset, which `ShardDataset.metadata` returns with the columns `USED`."""
    columns = {name: metadata[name].to_pylist() for name in USED}
    reasons: Counter[str] = Counter()
    for reason, status in zip(columns["reason"], columns["status"], strict=True):
        if status == GIVEN_UP:
            reasons[reason or ""] += 1
    return Making(
        requests=metadata.num_rows,
        given_up=reasons.total(),
        redrawn=sum(map(bool, columns["redraws"])),
        faults={name: sum(map(bool, columns[name])) for name in _FAULTS},
        reasons=dict(sorted(reasons.items())),
    )


def _with_status(table: pa.Table, status: str) -> pa.Table:
    return table.filter(pc.equal(table["status"], status))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= 80:
        return text
    return f"{text[:60]} ... ({digest(value)})"
