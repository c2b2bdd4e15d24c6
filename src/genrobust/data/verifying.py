"""Verifies that a generated dataset is as it was written, and sets damaged shards and filters aside."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import count
from mmap import ACCESS_READ, mmap
from os import W_OK, access
from pathlib import Path

import pyarrow as pa

from genrobust.core import (
    ANY_DIGEST,
    GenrobustError,
    UserError,
    hash_file,
    leftovers,
    lock,
    make_folder,
    progress_bar,
    refusal,
    remove_leftovers,
)
from genrobust.data.filters import PATTERN, read_filter
from genrobust.data.shard_files import (
    CHANGED,
    OK,
    hash_list,
    is_shard,
    shard_facts,
    shard_paths,
    shard_rows,
    tar_problem,
)
from genrobust.data.shards import MANIFEST, read_manifest

ASIDE = ".damaged"  # hidden, so that whoever reads all tars below the dataset does not read these


@dataclass(frozen=True, slots=True)
class Damage:
    """The damage of a shard; `keys` are the images that changed, where that is known."""

    shard: int
    what: str
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        images = f" The images {', '.join(self.keys)}." if self.keys else ""
        return f"shard {self.shard}: {self.what}.{images}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of `verify`: of `total` shards, those that are damaged and those that are not made yet.

    `manifest` is "" or what is wrong with the manifest; `total` then counts the shards that are there. `temporary` are
    files that a killed run left, or that one at work is writing. `filters` says what is wrong with each damaged filter.
    `aside` is where what is damaged was moved to.
    """

    folder: Path
    total: int
    damaged: tuple[Damage, ...]
    unfinished: tuple[int, ...]
    temporary: tuple[Path, ...]
    manifest: str = ""
    filters: tuple[str, ...] = ()
    aside: Path | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every shard and filter is as it was written."""
        return not (self.damaged or self.unfinished or self.manifest or self.filters)


def is_dataset(folder: Path) -> bool:
    """Return whether a generated dataset lies in `folder`, whole or damaged.

    Its manifest says so. Where that is damaged, the name of the folder or the parquet of a shard does.
    """
    try:
        return bool(read_manifest(folder))
    except UserError:
        shards = list(folder.glob(f"{6 * '[0-9]'}.parquet"))
        if folder.resolve().match(f"generated/{ANY_DIGEST}"):
            return bool(shards) or (folder / MANIFEST).exists()
        return any(map(is_shard, shards))


def verify(folder: Path, repair: bool = False) -> Verdict:
    """Read every byte of the dataset in `folder`, filters too, and compare it with the hashes that were written.

    `repair` moves what is damaged into the folder's subfolder `ASIDE`, so that the next `generate` makes these shards
    alone again, and removes temporary files.

    Raises:
        UserError: There is no dataset or, with `repair`, another process writes to it.
        GenrobustError: The system refuses to write.
    """
    try:
        total, manifest = int(read_manifest(folder)["shards"]), ""
    except UserError as error:
        if not is_dataset(folder):
            raise
        names = [path.stem for path in folder.glob("*.parquet")]
        total = max((int(name) + 1 for name in names if len(name) == 6 and name.isdecimal()), default=0)
        manifest = str(error)
    held = lock(folder, shared=not repair) if repair or access(folder, W_OK) else nullcontext()
    damaged, unfinished = [], []
    with held:
        with progress_bar("verifying", total, "shards") as bar:
            for index in range(total):
                if not shard_paths(folder, index)[-1].exists():
                    unfinished.append(index)
                elif damage := _damage(folder, index):
                    damaged.append(damage)
                bar.advance()
        temporary, filters = leftovers(folder), dict(_damaged_filters(folder))
        if repair:
            remove_leftovers(folder)
        # parquet first: without it, a shard is not done
        shards = [path for damage in damaged for path in reversed(shard_paths(folder, damage.shard))]
        aside = set_aside(folder, [*shards, *filters]) if repair and (damaged or filters) else None
    of_filters = tuple(filters.values())
    return Verdict(folder, total, tuple(damaged), tuple(unfinished), tuple(temporary), manifest, of_filters, aside)


def _damaged_filters(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.glob(PATTERN)):
        try:
            read_filter(path)
        except GenrobustError as error:
            yield path, str(error)


def _damage(folder: Path, index: int) -> Damage | None:
    """Return what is wrong with a shard whose parquet is there, or None."""
    tar, sums, parquet = shard_paths(folder, index)
    for path in (sums, tar):
        if not path.exists():
            return Damage(index, f"{path.name} is missing")
    try:
        listed, parquet_sha256 = sums.read_bytes(), hash_file(parquet)
        if parquet_sha256.encode() not in listed:
            return Damage(index, f"{parquet.name} {CHANGED}, or {sums.name}, which lists its hash, has")
        rows = shard_rows(folder, index, ("key", "status", "offset", "size", "image_sha256"))
        facts = shard_facts(folder, index)
        if problem := tar_problem(folder, index):
            return Damage(index, problem)
        tar_sha256, keys = hash_file(tar), tuple(_changed(tar, rows))
    except GenrobustError as error:
        return Damage(index, f"{parquet.name} cannot be read: {error.__cause__}")
    except OSError as error:
        return Damage(index, f"{error.filename} cannot be read: {error.strerror}")
    if tar_sha256 != facts["tar_sha256"] or keys:
        return Damage(index, f"{tar.name} {CHANGED}", keys)
    if listed != hash_list({tar.name: tar_sha256, parquet.name: parquet_sha256}):
        return Damage(index, f"{sums.name} {CHANGED}")
    return None


def _changed(tar: Path, rows: pa.Table) -> Iterator[str]:
    """The keys of the images in `tar` that are not those that `rows` were written for."""
    with tar.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        for row in rows.to_pylist():
            if row["status"] != OK:
                continue
            image = data[row["offset"] : row["offset"] + row["size"]]
            if hashlib.sha256(image).hexdigest() != row["image_sha256"]:
                yield row["key"]


def set_aside(folder: Path, paths: Sequence[Path]) -> Path:
    """Move files and folders of `folder`, in their order, into a new subfolder of its `ASIDE`; return that.

    Folders that this empties are removed.
    """
    make_folder(folder / ASIDE)
    aside = next(path for n in count(1) if not (path := folder / ASIDE / str(n)).exists())
    make_folder(aside)
    try:
        for path in paths:
            if path.exists():
                to = aside / path.relative_to(folder)
                make_folder(to.parent)
                path.replace(to)
                with suppress(OSError):  # there are other files
                    for parent in path.relative_to(folder).parents[:-1]:
                        (folder / parent).rmdir()
    except OSError as error:
        raise refusal(folder, error) from error
    return aside


def describe_verdict(verdict: Verdict) -> Iterator[str]:
    """Yield lines for the user: what was found, and what to do next."""
    folder = verdict.folder
    if verdict.manifest:
        yield (
            f"{verdict.manifest}. It says what the dataset is, and its shards do not: put back a copy of {MANIFEST}, "
            "or move the folder away and generate again"
        )
    yield from map(str, verdict.damaged)
    yield from verdict.filters
    if verdict.unfinished:
        shown = ", ".join(map(str, verdict.unfinished[:10])) + (" ..." if len(verdict.unfinished) > 10 else "")
        yield f"not made yet, or not to the end: {len(verdict.unfinished)} of {verdict.total} shards ({shown})"
    if verdict.temporary and verdict.aside is None:
        yield (
            f"{len(verdict.temporary)} temporary files ({verdict.temporary[0].name} ...), of a killed run or of one "
            "that is at work: the next run removes those of a killed one"
        )
    if verdict.is_whole:
        yield f"{folder}: all {verdict.total} shards are as they were written"
    if verdict.aside is not None:
        yield f"set aside, to be deleted once the shards are made again: {verdict.aside}"
