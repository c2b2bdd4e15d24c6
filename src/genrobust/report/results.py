"""A study's metrics as data: the Summary as JSON, and results.json as it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
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
    UserError,
    digest,
    parse_yaml,
    read_page_json,
    reading,
)
from genrobust.recipe import Recipe, parse_recipe
from genrobust.robustness import Metric

REPORT, RESULTS = "report.html", "results.json"
FORMAT = 4  # of a summary's JSON; a reader refuses one that it does not know


@dataclass(frozen=True, slots=True)
class StudyResults:
    """What a results.json says of a study; the attributes are those of `StudyRecord`. `recipe` has all values."""

    path: Path
    title: str
    date: str
    arms: tuple[ArmRecord, ...]
    summary: Summary
    command: str
    recipe: str
    environment: dict[str, str]
    classes: tuple[str, ...]
    test_images: dict[str, str]


def read_results(path: Path, name: str = "") -> StudyResults:
    """Read the results.json of a study, which errors call by its `name`, by default its path.

    Raises:
        UserError: There is no such file, it is none of a study or of another version, or it has changed since it was
            written.
    """
    then = ": it is no results.json of a study, or one of another version: run the study again"
    with reading(name or path, ValueError, KeyError, TypeError, GenrobustError, then=then):
        raw = read_page_json(path)
        return _checked(StudyResults)({**raw, "path": path, "summary": summary_from_json(raw["summary"])})


def recipe_of(results: StudyResults) -> Recipe | None:
    """Return the recipe of a study; None where this version or its plug-ins do not know it."""
    with suppress(UserError):
        raw = parse_yaml(results.recipe, "recipe")
        return parse_recipe(raw) if isinstance(raw, dict) else None
    return None


def report_inputs(recipe: Recipe, classifiers: Iterable[str], tests: Mapping[str, str]) -> dict[str, Any]:
    """Return what the folder of a report is named after, beside its study.

    Args:
        recipe: Its recipe, of which paths and the keys that say where it runs and who looks on are left out.
        classifiers: The names of their folders.
        tests: The fingerprints of the test sets.
    """
    decisive = recipe.model_dump(mode="json", exclude={"device", "execute", "track", "tune"})
    decisive = _without_paths(decisive, recipe.model_dump())
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
