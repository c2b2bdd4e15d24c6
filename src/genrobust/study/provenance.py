"""The makers of the results of a study, and how they differ from the present code and libraries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrobust.core import MadeBy, UserError, count, digest, some_of
from genrobust.store import CODE, SOURCE, Artifact, made_by_others

# Versions, or modules, in a message.
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Makers:
    """The makers of `count` artifacts of a `kind`, as `made_by` returns them."""

    kind: str
    made_by: Mapping[str, Any]
    count: int = 1

    @property
    def code(self) -> Mapping[str, str]:
        """The hashes of modules of genrobust."""
        code: Mapping[str, str] = self.made_by.get(CODE, {})
        return code

    @property
    def versions(self) -> dict[str, str]:
        """The versions of genrobust, libraries and plug-ins."""
        return {name: version for name, version in self.made_by.items() if name not in (CODE, SOURCE)}

    def agrees_with(self, other: Makers) -> bool:
        """Return whether both may be of one state of the code. They may need different modules of it."""
        if (self.kind, self.versions) != (other.kind, other.versions):
            return False
        return all(other.code.get(name, code_hash) == code_hash for name, code_hash in self.code.items())

    def joined_with(self, other: Makers) -> Makers:
        made_by = {**self.versions, CODE: {**self.code, **other.code}}
        return Makers(self.kind, made_by, self.count + other.count)


def makers_of(folders: Iterable[Path]) -> list[Makers]:
    """Return the makers of the finished artifacts among `folders`, with the number of artifacts of the same makers."""
    makers: dict[str, Makers] = {}
    counts: Counter[str] = Counter()
    for folder in dict.fromkeys(folders):
        artifact = Artifact(folder)
        if artifact.is_finished:
            manifest = artifact.manifest()
            key = digest([manifest.kind, manifest.made_by])
            counts[key] += 1
            makers[key] = Makers(manifest.kind, manifest.made_by, counts[key])
    return list(makers.values())


def describe_makers(makers: Iterable[Makers]) -> tuple[MadeBy, ...]:
    """Describe makers for a report. Artifacts that may be of one state of the code are counted together."""
    states: list[Makers] = []
    for made in makers:
        same = [number for number, state in enumerate(states) if state.agrees_with(made)]
        if same:
            states[same[0]] = states[same[0]].joined_with(made)
        else:
            states.append(made)
    return tuple(MadeBy(state.kind, state.count, {**state.versions, CODE: digest(state.code)}) for state in states)


def describe_others(makers: Iterable[Makers]) -> Iterator[str]:
    """Yield a line for the artifacts of each kind that other versions made, with the differences."""
    counts: Counter[tuple[str, str]] = Counter()
    for made in makers:
        differences = made_by_others(made.made_by)
        if differences:
            counts[made.kind, _list_differences(differences)] += made.count
    for (kind, listed), number in counts.items():
        yield f"{count(number, kind.removesuffix('s'))} made with {listed}"


def require_same_makers(folder: Path) -> None:
    """Raise UserError if other versions began the artifact in `folder`, and did not finish it."""
    artifact = Artifact(folder)
    if artifact.is_finished or not artifact.is_begun:
        return
    differences = made_by_others(artifact.manifest().made_by)
    if differences:
        raise UserError(
            f"{folder} was begun with {_list_differences(differences)}: rerun with those versions to finish it, or "
            "delete that folder to begin it again"
        )


def _list_differences(differences: Mapping[str, tuple[str, str]]) -> str:
    """List the differences: "torch 2.9.1 (now 2.13.0), other code in 2 modules of genrobust (train.loop, data)"."""
    versions: list[str] = []
    modules: list[str] = []
    for name, (then, now) in differences.items():
        package, _, module = name.partition(".")
        if package == "genrobust" and module:
            modules.append(module)
        else:
            versions.append(f"{name} {then or 'unknown'} (now {now or 'missing'})")
    if modules:
        versions.append(f"other code in {count(len(modules), 'module')} of genrobust ({some_of(modules, SHOWN)})")
    return some_of(versions, SHOWN)
