"""A study's metrics as data: the Summary as JSON, and results.json as it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from genrobust.core import (
    ArmRecord,
    GenrobustError,
    Score,
    ScoreKey,
    Summary,
    digest,
    hash_file,
    read_page_json,
    reading,
)
from genrobust.recipe import Recipe
from genrobust.robustness import Metric

REPORT, RESULTS = "report.html", "results.json"
FORMAT = 4  # of a summary's JSON; a reader refuses one that it does not know


@dataclass(frozen=True, slots=True)
class StudyResults:
    """What is read of a results.json; the attributes are those of `StudyRecord`."""

    title: str
    date: str
    arms: tuple[ArmRecord, ...]
    summary: Summary


def read_results(path: Path) -> StudyResults:
    """Read the results.json of a study.

    Raises:
        UserError: There is no such file, it is none of a study or of another version, or it has changed since it was
            written.
    """
    then = ": it is no results.json of a study, or one of another version: run the study again"
    with reading(path, ValueError, KeyError, TypeError, GenrobustError, then=then):
        raw = read_page_json(path)
        return _checked(StudyResults)({**raw, "summary": summary_from_json(raw["summary"])})


def report_inputs(recipe: Recipe, classifiers: Iterable[str], tests: Mapping[str, str]) -> dict[str, Any]:
    """Return what the folder of a report is named after, beside its study.

    Args:
        recipe: Its recipe, of which paths and the keys that say where it runs and who looks on are left out. A table of
            baselines counts by its content.
        classifiers: The names of their folders, and hashes of CLIPs.
        tests: The fingerprints of the test sets.
    """
    decisive = recipe.model_dump(mode="json", exclude={"device", "execute", "track", "tune"})
    decisive = _without_paths(decisive, recipe.model_dump())
    if (table := recipe.robustness.baselines) and Path(table).is_file():
        decisive["robustness"]["baselines"] = hash_file(Path(table))
    parts = {"recipe": decisive, "classifiers": list(classifiers), "tests": dict(tests)}
    return {"format": FORMAT, **{name: digest(part, 64) for name, part in parts.items()}}


def _without_paths(values: Any, typed: Any) -> Any:
    """Return the JSON `values` of a section without the keys of paths, which its values in Python tell."""
    if isinstance(values, dict):
        kept = {key: inner for key, inner in values.items() if not isinstance(typed[key], Path)}
        return {key: _without_paths(inner, typed[key]) for key, inner in kept.items()}
    if isinstance(values, list):
        return [_without_paths(*pair) for pair in zip(values, typed, strict=True)]
    return values


def summary_to_json(summary: Summary, metrics: Iterable[Metric]) -> dict[str, Any]:
    """Return `summary` as JSON values, without matrices.

    `scores` is a list of records in place of the table, with their units.
    """
    units = {metric.name: (metric.unit, metric.difference_unit) for metric in metrics}
    scores = [{**row, "unit": units[row["metric"]][bool(row["minus"])]} for row in summary.rows()]
    reports = {
        side: {arm: replace(report, matrix=None) for arm, report in of_side.items()}
        for side, of_side in summary.class_reports.items()
    }
    return {"format": FORMAT, **asdict(replace(summary, scores={}, class_reports=reports)), "scores": scores}


def summary_from_json(value: dict[str, Any]) -> Summary:
    """Return the Summary that `summary_to_json` made `value` from.

    Raises:
        ValueError, KeyError, TypeError: `value` is of another shape.
    """
    if value["format"] != FORMAT:
        raise ValueError(f"a summary of format {value['format']}, but this version reads {FORMAT}")
    scores: list[Score] = _checked(list[Score])(value["scores"])
    keys = [ScoreKey(*(row[name] for name in ScoreKey._fields)) for row in value["scores"]]
    if len(set(keys)) < len(keys):
        raise ValueError("a score occurs twice")
    summary: Summary = _checked(Summary)({**value, "scores": {}})
    return replace(summary, scores=dict(zip(keys, scores, strict=True)))


@cache
def _checked(kind: Any) -> Callable[[Any], Any]:
    """Return a function that makes a `kind` of JSON values, or raises ValueError; what is missing has its default."""
    return TypeAdapter(kind).validate_python
