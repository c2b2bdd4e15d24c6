"""Verifies the output folder of studies: each file against the SHA-256 that was written with it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from genrobust.classifiers import check_state, check_weights
from genrobust.core import (
    EARLIER,
    FILE_LIST,
    PARTS,
    GenrobustError,
    UserError,
    load_arrays,
    lock,
    progress_bar,
    read_file_list,
    read_part,
    reading,
    unsealed,
)
from genrobust.data import MANIFEST, Verdict, describe_verdict, read_filter, read_search, set_aside, verify
from genrobust.generate import check_trained
from genrobust.study.embeddings import read_embeddings
from genrobust.study.tracking import read_logged
from genrobust.train import check_packed

AGAIN = "delete it and run the command that wrote it again"
_SHARD = re.compile(r"\d{6}\.parquet")


@dataclass(frozen=True, slots=True)
class Guard:
    """How a kind of file is checked: `check` raises GenrobustError for a damaged one, which says what to do.

    Attributes:
        pattern: The end of its path.
        unit: Returns the files and folders that are made again together, and so set aside together.
    """

    pattern: str
    check: Callable[[Path], object]
    unit: Callable[[Path], list[Path]] = lambda path: [path]


def _of_folder(check: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: check(path.parent)


def _folder(path: Path) -> list[Path]:
    return [path.parent]


def _check_json(path: Path) -> None:
    with reading(path, ValueError, then=f": {AGAIN}", kind=GenrobustError):
        unsealed(path.read_bytes())


def _check_arrays(path: Path) -> None:
    with reading(path, ValueError, then=f": {AGAIN}", kind=GenrobustError):
        load_arrays(path).close()


GUARDS = (
    Guard("checkpoint.json", _of_folder(check_weights), _folder),
    Guard("state.safetensors", check_state),
    Guard("features.safetensors", check_state),
    Guard("finetune.json", _of_folder(check_trained), _folder),
    Guard("class_model.json", _of_folder(check_trained), _folder),
    Guard("predictions/*/*.npz", _check_arrays),
    Guard("embeddings/*.npz", read_embeddings),
    Guard("packed/*/*.npz", check_packed, lambda path: [path, path.with_suffix(".jpegs")]),
    Guard("filters/*.parquet", read_filter),
    Guard("searches/*.parquet", read_search),
    Guard("rates.json", _check_json),
    Guard("results.json", _check_json),
    Guard("audit.json", _check_json),
    Guard(f"{PARTS}/*/*.npz", read_part),
    Guard("track/*/logged.jsonl", read_logged, _folder),
    Guard(FILE_LIST, _of_folder(read_file_list), _folder),
)


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of `verify_outputs`: the number of files and datasets, those that are damaged, and where they are now.

    `damaged` maps what is set aside to what is wrong and what to do; `verdicts` are those of the datasets.
    """

    checked: int
    damaged: dict[Path, str]
    verdicts: tuple[Verdict, ...]
    aside: Path | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged; shards that are not made yet are no damage."""
        return not self.damaged and not any(v.damaged or v.filters or v.manifest for v in self.verdicts)


def verify_outputs(folder: Path, repair: bool = False) -> Verified:
    """Compare every file in `folder` that studies wrote and may read again with its SHA-256.

    `repair` moves what is damaged into hidden folders, so that the commands that wrote it make it again.

    Raises:
        UserError: There is no such file or, with `repair`, another process writes there.
        GenrobustError: The system refuses to write.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path.relative_to(folder))]
    datasets = sorted({path.parent for path in files if path.name == MANIFEST or _SHARD.fullmatch(path.name)})
    guarded = [(path, guard) for path in files for guard in GUARDS if path.match(guard.pattern)]
    if not (guarded or datasets):
        raise UserError(f"{folder} holds no generated dataset, and nothing that a study wrote: name such a folder")
    verdicts = tuple(verify(dataset, repair) for dataset in datasets)
    damaged: dict[Path, str] = {}
    units: list[Path] = []
    with progress_bar("verifying", len(guarded), "files") as bar:
        for path, guard in guarded:
            try:
                guard.check(path)
            except GenrobustError as error:
                if path.exists():  # a finished audit or filter has removed its parts meanwhile
                    damaged[path] = str(error)
                    units += guard.unit(path)
            bar.advance()
    found = Verified(len(guarded) + len(datasets), damaged, verdicts)
    return replace(found, aside=_set_aside(folder, units)) if repair and units else found


def _set_aside(folder: Path, units: list[Path]) -> Path:
    with ExitStack() as held:
        for place in dict.fromkeys(unit if unit.is_dir() else unit.parent for unit in units if unit.exists()):
            held.enter_context(lock(place))  # nobody writes there meanwhile
        if os.name == "nt":  # which moves no folder with an open file
            held.close()
        return set_aside(folder, units)


def _is_hidden(path: Path) -> bool:
    """Whether a file is not looked at; nor are earlier reports, which are kept as the user left them."""
    return EARLIER in path.parts[:-1] or any(
        part.startswith(".") and part not in (FILE_LIST, PARTS) for part in path.parts
    )


def describe_verified(found: Verified) -> Iterator[str]:
    """Yield lines for the user: what was found, and what to do next."""
    for verdict in found.verdicts:
        if not verdict.is_whole:
            yield f"{verdict.folder}:"
            yield from describe_verdict(verdict)
    yield from found.damaged.values()
    if found.is_whole:
        yield f"all {found.checked:,} files and datasets checked are as they were written"
    if found.aside is not None:
        yield f"set aside, to be deleted once everything is made again: {found.aside}"
