"""The record beside a trained generator: what it was made from, and the hashes of its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genrobust.classifiers import STATE
from genrobust.core import GenrobustError, check_hash, hash_file, reading, replacing, sealed, unsealed
from genrobust.recipe import ClassModelConfig, DiffusionTraining, FinetuneConfig

FILES = "files_sha256"


def record_of(out: Path, config: type[DiffusionTraining] | DiffusionTraining) -> Path:
    """Return the file in the folder `out` that says what was trained there. It is written last."""
    return out / f"{config.section}.json"


def write_record(record: Path, facts: Mapping[str, Any]) -> None:
    """Write `facts` and the hash of each file beside `record`, which marks the generator there as complete."""
    out = record.parent
    files = {path.relative_to(out): path for path in sorted(out.rglob("*")) if path.is_file()}
    kept = {name: path for name, path in files.items() if not name.name.startswith(".") and name.name != STATE}
    hashes = {name.as_posix(): hash_file(path) for name, path in kept.items() if path != record}
    with replacing(record) as file:
        file.write(sealed({**facts, FILES: hashes}))


def read_record(record: Path) -> dict[str, Any]:
    """Read what `write_record` wrote.

    Raises:
        GenrobustError: The record is damaged.
    """
    with reading(record, ValueError, then=_remedy(record.parent), kind=GenrobustError):
        return unsealed(record.read_bytes())


def base_of(folder: Path) -> str:
    """Return the id of the generator that the one in `folder` was trained from here, "" where it was not.

    Raises:
        GenrobustError: The record of that training is damaged.
    """
    records = (record_of(folder, config) for config in (FinetuneConfig, ClassModelConfig))
    return next((str(read_record(record).get("base", "")) for record in records if record.is_file()), "")


def check_trained(folder: Path) -> None:
    """Compare the files of a generator with its record, where genrobust trained it; a process reads them once.

    Raises:
        GenrobustError: A file is damaged; the message names the first.
    """
    for config in (FinetuneConfig, ClassModelConfig):
        if (record := record_of(folder, config)).is_file():
            found = read_record(record)
            with reading(record, KeyError, AttributeError, then=_remedy(folder), kind=GenrobustError):
                hashes = dict(found[FILES].items())
            for name, sha256 in hashes.items():
                with reading(folder / name, ValueError, then=_remedy(folder), kind=GenrobustError):
                    check_hash(folder / name, sha256)


def _remedy(folder: Path) -> str:
    return f"; delete {folder} to train again"
