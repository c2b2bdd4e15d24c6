"""Reads the reports in a folder of studies: when each was written, its answer, and how its recipe differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from genrobust.core import UserError, count, parse_yaml
from genrobust.report import RESULTS
from genrobust.store import read_page_json
from genrobust.study import finished_runs

# Keys that a list of differences shows.
MOST_CHANGES = 6
# Characters of a value in a list of differences.
WIDTH = 40


@dataclass(frozen=True, slots=True)
class FinishedReport:
    """A report.

    Attributes:
        folder: The name of its folder.
        finished: When it was written: "2026-12-03 14:31".
        name: The name of the recipe.
        options: The options of the command that made it, such as "--quick".
        answer: The first sentence of its answer.
        arms: The number of arms and seeds, in words.
        changes: The keys of its recipe that differ from the next older report of the study.
    """

    folder: str
    finished: str
    name: str
    options: str
    answer: str
    arms: str
    changes: tuple[str, ...]


def read_reports(runs: Path) -> list[FinishedReport]:
    """Read all reports in the folder `runs`, the newest first.

    Raises:
        UserError: There is none.
    """
    found = finished_runs(runs)
    if not found:
        raise UserError(f"{runs} holds no report: run a study with --out {runs}, or name another folder")
    pages = [read_page_json(run.folder / RESULTS) for run in found]
    recipes = [parse_yaml(page["recipe"], str(run.folder)) for page, run in zip(pages, found, strict=True)]
    names = [Path(run.recipe).stem for run in found]
    reports = []
    for place, (run, page) in enumerate(zip(found, pages, strict=True)):
        recipe = recipes[place]
        others = zip(names[place + 1 :], recipes[place + 1 :], strict=True)
        older = next((other for name, other in others if name == names[place]), None)
        report = FinishedReport(
            folder=run.folder.name,
            finished=run.ended.strftime("%Y-%m-%d %H:%M"),
            name=names[place],
            options=" ".join([*(["--quick"] if run.quick else []), *(f"--set {value}" for value in run.overrides)]),
            answer=page["answer"][0] if page["answer"] else "",
            arms=f"{count(len(page['arms']), 'arm')}, {count(len(page['summary']['seeds']), 'seed')}",
            changes=() if older is None else tuple(_list_changes(older, recipe)),
        )
        reports.append(report)
    return reports


def _list_changes(older: Mapping[str, Any], newer: Mapping[str, Any]) -> list[str]:
    """List the keys that differ between two recipes, with both values."""
    before, after = dict(_leaves(older)), dict(_leaves(newer))
    # The name of a recipe tells the options of its run.
    keys = [key for key in {**before, **after} if key != "name"]
    changed = [key for key in keys if before.get(key) != after.get(key)]
    lines = []
    for key in islice(changed, MOST_CHANGES):
        lines.append(f"{key}: {_shorten(before.get(key))} before, {_shorten(after.get(key))} here")
    if len(changed) > MOST_CHANGES:
        lines.append(f"{len(changed) - MOST_CHANGES} more keys differ")
    return lines


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted keys of a recipe with their values as text. An item of a list with a name has this name."""
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) and "name" in item for item in value):
        items = [(item["name"], item) for item in value]
    if not items:
        yield key, str(value)
    for name, inner in items:
        yield from _leaves(inner, f"{key}.{name}" if key else str(name))


def _shorten(text: str | None) -> str:
    if text is None:
        return "not set"
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
