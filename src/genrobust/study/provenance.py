"""What made the results of a study, and how that differs from what would make them now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrobust.core import CODE, Artifact, MadeBy, UserError, digest, made_by_others, some_of
from genrobust.report import count

SHOWN = 6  # differences, in a message


@dataclass
class Makers:
    """What made `count` artifacts of a `kind`: `versions` by name, and the hash of each of genrobust's `modules`."""

    kind: str
    count: int
    versions: dict[str, Any]
    modules: dict[str, str]

    def describe(self) -> MadeBy:
        """Return what a report shows of it."""
        return MadeBy(self.kind, self.count, {**self.versions, CODE: digest(self.modules)})


def makers_of(folders: Iterable[Path]) -> list[Makers]:
    """Return what made the finished artifacts among `folders`.

    Those of one kind and the same versions are counted together, unless they differ in the code of a module.
    """
    makers: list[Makers] = []
    for folder in dict.fromkeys(folders):
        artifact = Artifact(folder)
        if not artifact.is_finished:
            continue
        manifest = artifact.manifest()
        modules = dict(manifest.made_by.get(CODE, {}))
        versions = {name: version for name, version in manifest.made_by.items() if name != CODE}
        for made in makers:
            known = made.modules
            if (made.kind, made.versions) == (manifest.kind, versions) and known | modules == modules | known:
                made.count, made.modules = made.count + 1, known | modules
                break
        else:
            makers.append(Makers(manifest.kind, 1, versions, modules))
    return makers


def describe_others(makers: Iterable[Makers]) -> Iterator[str]:
    """Yield a line for the artifacts of each kind that other versions made, with what differs."""
    for made in makers:
        if different := made_by_others({**made.versions, CODE: made.modules}):
            things = count(made.count, made.kind.removesuffix("s"))
            yield f"{things} made by {_differences(different)}"


def require_same_makers(folder: Path, anew: bool) -> None:
    """Remove the unfinished artifact in `folder` that other versions began, or raise UserError unless it is `anew`."""
    artifact = Artifact(folder)
    if artifact.is_finished or not artifact.is_begun:
        return
    different = made_by_others(artifact.manifest().made_by)
    if different and not anew:
        raise UserError(
            f"{folder} was begun by {_differences(different)}: rerun with those versions to finish it, or with --anew, "
            "which begins it again"
        )
    if different:
        artifact.remove()


def _differences(different: Mapping[str, tuple[str, str]]) -> str:
    """List the differences: "torch 2.9.1 (now 2.13.0), genrobust.train.loop 1f0c... (now 2e7a...)"."""
    lines = [f"{name} {then or 'unknown'} (now {now or 'missing'})" for name, (then, now) in different.items()]
    return some_of(lines, SHOWN)
