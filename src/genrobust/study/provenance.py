"""What made the results of a study, and how that differs from what would make them now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrobust.core import CODE, Artifact, MadeBy, UserError, count, digest, made_by_others, some_of

SHOWN = 6  # differences, in a message


@dataclass
class Makers:
    """What made `count` artifacts of a `kind`, as `made_by` returns it."""

    kind: str
    made_by: Mapping[str, Any]
    count: int = 0

    def describe(self) -> MadeBy:
        """Return what a report shows of it."""
        return MadeBy(self.kind, self.count, {**self.made_by, CODE: digest(self.made_by.get(CODE, {}))})


def makers_of(folders: Iterable[Path]) -> list[Makers]:
    """Return what made the finished artifacts among `folders`; those of one kind and code are counted together."""
    makers: dict[str, Makers] = {}
    for folder in dict.fromkeys(folders):
        artifact = Artifact(folder)
        if artifact.is_finished:
            manifest = artifact.manifest()
            same = digest([manifest.kind, manifest.made_by])
            makers.setdefault(same, Makers(manifest.kind, manifest.made_by)).count += 1
    return [*makers.values()]


def describe_others(makers: Iterable[Makers]) -> Iterator[str]:
    """Yield a line for the artifacts of each kind that other versions made, with what differs."""
    for made in makers:
        if different := made_by_others(made.made_by):
            things = count(made.count, made.kind.removesuffix("s"))
            yield f"{things} made by {_differences(different)}"


def require_same_makers(folder: Path) -> None:
    """Raise UserError where other versions began the artifact in `folder`, and did not finish it."""
    artifact = Artifact(folder)
    if artifact.is_finished or not artifact.is_begun:
        return
    if different := made_by_others(artifact.manifest().made_by):
        raise UserError(
            f"{folder} was begun by {_differences(different)}: rerun with those versions to finish it, or delete that "
            "folder to begin it again"
        )


def _differences(different: Mapping[str, tuple[str, str]]) -> str:
    """List the differences: "torch 2.9.1 (now 2.13.0), genrobust.train.loop 1f0c... (now 2e7a...)"."""
    lines = [f"{name} {then or 'unknown'} (now {now or 'missing'})" for name, (then, now) in different.items()]
    return some_of(lines, SHOWN)
