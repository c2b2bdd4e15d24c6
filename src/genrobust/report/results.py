"""A study's metrics as data: what a report is named after, and its Summary as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from genrobust.core import Summary, digest, hash_file
from genrobust.recipe import Recipe
from genrobust.robustness import Metric

REPORT, RESULTS = "report.html", "results.json"
FORMAT = 4  # of a summary's JSON


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
