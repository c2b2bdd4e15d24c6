"""What made the results of a study, and how that differs from what would make them now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from genrobust.core import Artifact, MadeBy, Manifest, UserError, made_by_others
from genrobust.report import count


def makers_of(folders: Iterable[Path]) -> list[MadeBy]:
    """Return what made the finished artifacts among `folders`: those of one kind and the same versions together."""
    counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
    for folder in dict.fromkeys(folders):
        artifact = Artifact(folder)
        if artifact.is_finished:
            manifest = artifact.manifest()
            counts[manifest.kind, tuple(manifest.made_by.items())] += 1
    return [MadeBy(kind, number, dict(versions)) for (kind, versions), number in counts.items()]


def describe_others(makers: Iterable[MadeBy]) -> Iterator[str]:
    """Yield a line for the artifacts of each kind that other versions made, with what differs."""
    for made in makers:
        if different := made_by_others(Manifest(made.kind, made_by=made.versions)):
            things = count(made.count, made.kind.removesuffix("s"))
            yield f"{things} made by {_differences(different)}"


def require_same_makers(folder: Path, anew: bool) -> None:
    """Remove the unfinished artifact in `folder` that other versions began, or raise UserError unless it is `anew`."""
    artifact = Artifact(folder)
    if artifact.is_finished or not artifact.is_begun:
        return
    different = made_by_others(artifact.manifest())
    if different and not anew:
        raise UserError(
            f"{folder} was begun by {_differences(different)}: rerun with those versions to finish it, or with --anew, "
            "which begins it again"
        )
    if different:
        artifact.remove()


def _differences(different: Mapping[str, tuple[str, str]]) -> str:
    """List the differences: "torch 2.9.1 (now 2.13.0), code 1f0c... (now 2e7a...)"."""
    return ", ".join(f"{name} {then or 'unknown'} (now {now or 'missing'})" for name, (then, now) in different.items())
