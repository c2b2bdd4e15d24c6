"""Verifies the output folder of studies: each file against the SHA-256 that was written with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from genrobust.classifiers import INITIAL, UNDER_WAY, WEIGHTS, check_state, check_weights
from genrobust.core import (
    ANY_DIGEST,
    EARLIER,
    FILE_LIST,
    HEX_DIGITS,
    LOCK,
    PARTS,
    GenrobustError,
    UserError,
    has_seal,
    hash_file,
    is_own,
    load_arrays,
    lock,
    progress_bar,
    read_file_list,
    read_part,
    reading,
    unsealed,
)
from genrobust.data import (
    MANIFEST,
    Verdict,
    describe_verdict,
    is_dataset,
    read_filter,
    read_search,
    set_aside,
    verify,
)
from genrobust.generate import check_trained
from genrobust.study.embeddings import read_embeddings
from genrobust.study.rates import RATES
from genrobust.study.tracking import EXTRAS, LOGGED, read_logged
from genrobust.train import check_packed

AGAIN = "delete it and run the command that wrote it again"
_TRAININGS = ("checkpoints", "finetuned", "class-models")


@dataclass(frozen=True, slots=True)
class Guard:
    """How a kind of file is checked: `check` raises GenrobustError for a damaged one, which says what to do.

    Attributes:
        pattern: The end of its path, by which a file of the user's is not taken for one: most files, or their folders,
            are named by a hash.
        unit: Returns what is made again together, and so set aside together. The folder may hold other files.
        is_ours: Returns whether a file of the pattern is one of ours, where the pattern does not tell.
    """

    pattern: str
    check: Callable[[Path], object]
    unit: Callable[[Path], list[Path]] = lambda path: [path]
    is_ours: Callable[[Path], bool] = lambda path: True


def _of_folder(check: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: check(path.parent)


def _checkpoint(info: Path) -> list[Path]:
    return [info, *(info.with_name(name) for name in (WEIGHTS, INITIAL, *UNDER_WAY))]


def _generator(record: Path) -> list[Path]:
    return [record, *_listed(record, by_name=True)]


def _tracked(logged: Path) -> list[Path]:
    runs = ("*/events.out.tfevents.*", "wandb/*run-*")
    return [logged, *(path for pattern in runs for path in logged.parent.glob(pattern))]


def _listed(record: Path, by_name: bool = False) -> list[Path]:
    """Return the files beside and below `record`, a list of SHA-256 that may be damaged, whose hash half stands there.

    With `by_name`, also those that it names: they may be damaged themselves.
    """
    words = set(record.read_bytes().split(b'"'))
    halves = {word[at : at + 32] for word in words if len(word) == HEX_DIGITS for at in (0, 32)}

    def is_listed(path: Path) -> bool:
        if by_name and os.fsencode(path.relative_to(record.parent).as_posix()) in words:
            return True
        sha256 = hash_file(path).encode()
        return not halves.isdisjoint({sha256[:32], sha256[32:]})

    files = (path for path in sorted(record.parent.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path for path in files if is_listed(path)]


def _is_in_list(path: Path) -> bool:
    """Whether the list of our files beside `path` names it."""
    files = path.with_name(FILE_LIST)
    return files.is_file() and f'"{path.name}"'.encode() in files.read_bytes()


def _check_json(path: Path) -> None:
    with reading(path, ValueError, then=f": {AGAIN}", kind=GenrobustError):
        unsealed(path.read_bytes())


def _check_arrays(path: Path) -> None:
    with reading(path, ValueError, then=f": {AGAIN}", kind=GenrobustError):
        load_arrays(path).close()


GUARDS = (
    Guard(f"checkpoints/{ANY_DIGEST}/checkpoint.json", _of_folder(check_weights), _checkpoint),
    *(Guard(f"{below}/{ANY_DIGEST}/{name}", check_state) for below in _TRAININGS for name in UNDER_WAY),
    Guard(f"finetuned/{ANY_DIGEST}/finetune.json", _of_folder(check_trained), _generator),
    Guard(f"class-models/{ANY_DIGEST}/class_model.json", _of_folder(check_trained), _generator),
    Guard(f"predictions/{ANY_DIGEST}/*.npz", _check_arrays),
    Guard(f"embeddings/{ANY_DIGEST}.npz", read_embeddings),
    Guard(f"packed/{ANY_DIGEST}/*.npz", check_packed, lambda path: [path, path.with_suffix(".jpegs")]),
    Guard(f"filters/{ANY_DIGEST}.parquet", read_filter),
    Guard(f"searches/{ANY_DIGEST}.parquet", read_search),
    Guard(RATES, _check_json, is_ours=lambda path: path.with_name(LOCK).exists() and has_seal(path)),
    Guard("results.json", _check_json, is_ours=_is_in_list),
    Guard("audit.json", _check_json, is_ours=_is_in_list),
    Guard(f"{PARTS}/{ANY_DIGEST}/{ANY_DIGEST}.npz", read_part),
    *(Guard(f"track/{tracker}/{LOGGED}", read_logged, _tracked) for tracker in EXTRAS),
    Guard(FILE_LIST, _of_folder(read_file_list), lambda path: [path, *_listed(path)]),
)


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of `verify_outputs`: the number of files and datasets, those that are damaged, and where they are now.

    `damaged` maps what is set aside to what is wrong and what to do; `verdicts` are those of the datasets. `changed`
    are files of reports and exports that the user edited or that were damaged: they stay where they are.
    """

    checked: int
    damaged: dict[Path, str]
    verdicts: tuple[Verdict, ...]
    aside: Path | None = None
    changed: tuple[Path, ...] = ()

    @property
    def is_damaged(self) -> bool:
        """Whether anything is to be made again; shards that are not made yet are no damage."""
        return bool(self.damaged) or any(v.damaged or v.filters or v.manifest for v in self.verdicts)


def verify_outputs(folder: Path, repair: bool = False) -> Verified:
    """Compare every file in `folder` that studies wrote and may read again with its SHA-256.

    `repair` moves what is damaged into hidden folders, so that the commands that wrote it make it again. Files of the
    user's are neither checked nor moved.

    Raises:
        UserError: There is no such file or, with `repair`, another process writes there.
        GenrobustError: The system refuses to write.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path.relative_to(folder))]
    places = sorted({path.parent for path in files if path.name == MANIFEST or path.suffix == ".parquet"})
    datasets = [place for place in places if is_dataset(place)]
    guarded = list(_guarded(folder, files))
    if not (guarded or datasets):
        raise UserError(f"{folder} holds no generated dataset, and nothing that a study wrote: name such a folder")
    verdicts = tuple(verify(dataset, repair) for dataset in datasets)
    damaged: dict[Path, str] = {}
    units: dict[Path, list[Path]] = {}
    with progress_bar("verifying", len(guarded), "files") as bar:
        for path, guard in guarded:
            try:
                guard.check(path)
            except GenrobustError as error:
                if path.exists():  # a finished audit or filter has removed its parts meanwhile
                    damaged[path] = str(error)
                    units[path] = guard.unit(path)
            bar.advance()
    lists = [path.parent for path, _ in guarded if path.name == FILE_LIST and path not in damaged]
    changed = [path for place in lists for path in _changed(place) if path not in damaged]
    found = Verified(len(guarded) + len(datasets), damaged, verdicts, changed=tuple(changed))
    return replace(found, aside=_set_aside(folder, units)) if repair and units else found


def _changed(folder: Path) -> Iterator[Path]:
    """Yield the files in `folder` that are not as genrobust wrote them, by the list beside them."""
    files = read_file_list(folder)
    yield from (folder / name for name in files if (folder / name).exists() and not is_own(folder, name, files))


def _guarded(folder: Path, files: Iterable[Path]) -> Iterator[tuple[Path, Guard]]:
    place = folder.resolve()  # it may lie within the output folder, and be called by any name
    for path in files:
        full = place / path.relative_to(folder)
        yield from ((path, guard) for guard in GUARDS if full.match(guard.pattern) and guard.is_ours(path))


def _set_aside(folder: Path, units: Mapping[Path, Sequence[Path]]) -> Path:
    with ExitStack() as held:
        for place in dict.fromkeys(path.parent for path in units):
            held.enter_context(lock(place))  # nobody writes there meanwhile
        if os.name == "nt":  # which moves no folder with an open file
            held.close()
        return set_aside(folder, [path for unit in units.values() for path in unit])


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
    for path in found.changed:
        yield f"{path} was changed after genrobust wrote it: if that was not you, run the command that wrote it again"
    if not (found.is_damaged or found.changed):
        yield f"all {found.checked:,} files and datasets checked are as they were written"
    if found.aside is not None:
        yield f"set aside, to be deleted once everything is made again: {found.aside}"
