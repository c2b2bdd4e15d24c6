"""The inputs of a report: its folder is named after them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from genrobust.core import digest
from genrobust.recipe import Recipe
from genrobust.store import hash_file

REPORT = "report.html"
RESULTS = "results.json"
# Version of the JSON of a summary.
FORMAT = 4


def report_inputs(recipe: Recipe, classifiers: Iterable[str], tests: Mapping[str, str]) -> dict[str, Any]:
    """Return the inputs that the folder of a report is named after, in addition to its study.

    Args:
        recipe: Paths, and the keys that say where it runs and who follows it, do not count. A table of baselines counts
            by its content.
        classifiers: The names of their folders, and hashes of CLIPs.
        tests: The fingerprints of the test sets.
    """
    decisive = recipe.model_dump(mode="json", exclude={"device", "execute", "track", "tune"})
    decisive = _without_paths(decisive, recipe.model_dump())
    table = recipe.robustness.baselines
    if table and Path(table).is_file():
        decisive["robustness"]["baselines"] = hash_file(Path(table))
    inputs = {"recipe": decisive, "classifiers": list(classifiers), "tests": dict(tests)}
    hashes = {name: digest(value, 64) for name, value in inputs.items()}
    return {"format": FORMAT, **hashes}


def _without_paths(values: Any, typed: Any) -> Any:
    """Return the JSON `values` of a section without the keys whose value is a path in `typed`."""
    if isinstance(values, dict):
        kept = {key: inner for key, inner in values.items() if not isinstance(typed[key], Path)}
        return {key: _without_paths(inner, typed[key]) for key, inner in kept.items()}
    if isinstance(values, list):
        return [_without_paths(inner, inner_typed) for inner, inner_typed in zip(values, typed, strict=True)]
    return values
