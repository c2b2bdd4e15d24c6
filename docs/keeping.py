"""What docs/results keeps of a study's results.json: no more than the pages quote."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

MEAN = "mean of shifts"
KEPT = ("metric", "arm", "test_set", "minus", "value", "lo", "hi", "groups", "extrapolated")
DECIMALS = {"value": 2, "lo": 2, "hi": 2}
METRICS = ("top1", "top1_adapted", "er")  # what the pages quote
OF_SUMMARY = ("arms", "reference", "seeds", "clean", "shifts", "left_out", "groups", "references", "without_group")


def condensed(results: dict[str, Any]) -> str:
    """What the pages need of a results.json, as JSON: a line for each part, and for each score below their columns."""
    summary = results["summary"]
    told = {key: results[key] for key in ("title", "date", "command", "environment", "arms", "claims", "qualities")}
    told["seconds"] = {arm["name"]: rounded_seconds(arm["seconds"]) for arm in results["arms"]}
    told |= {key: summary[key] for key in OF_SUMMARY}
    told["lines"] = {shift: {key: line[key] for key in ("r2", "n")} for shift, line in summary["lines"].items()}
    if curves := results.get("curves"):
        told["curves"] = {curve["arm"]: condensed_curve(curve) for curve in curves}
    references = {summary["reference"], *summary["references"].values(), *(c["than"] for c in results["claims"])}
    rows = [list(KEPT), *rows_of(row for row in summary["scores"] if is_quoted(row, references))]
    lines = [f"{compact(key)}:{compact(value)}" for key, value in told.items()]
    lines.append('"scores":[\n' + ",\n".join(map(compact, rows)) + "\n]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def compact(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def rounded_seconds(seconds: dict[str, float] | None) -> dict[str, int]:
    """The seconds of one device that an arm takes, by what it does; rates say no more than whole ones."""
    return {what: round(value) for what, value in (seconds or {}).items()}


def condensed_curve(curve: dict[str, Any]) -> list[list[Any]]:
    """The accuracies between two networks, clean and on the mean of the shifts, by the share of the second."""
    where = ("top1", curve["clean"]), ("top1", MEAN)
    return [list(KEPT), *rows_of(row for row in curve["scores"] if (row["metric"], row["test_set"]) in where)]


def rows_of(scores: Iterable[dict[str, Any]]) -> list[list[Any]]:
    """The columns `KEPT` of the scores over all seeds."""
    return [[rounded(row[key], DECIMALS.get(key, 4)) for key in KEPT] for row in scores if row["seed"] is None]


def is_quoted(row: dict[str, Any], references: Collection[str]) -> bool:
    """Whether pages may quote a score.

    They quote none on the classes of another set alone, no differences with adapted batch norms, and differences on one
    set only from `references`: those that arms have, and those of claims.
    """
    if row["metric"] not in METRICS or " on the classes of " in row["test_set"]:
        return False
    if not row["minus"]:
        return True
    if row["metric"] == "top1_adapted":
        return False
    return row["test_set"] == MEAN or row["minus"] in references


def rounded(value: Any, decimals: int = 4) -> Any:
    """Floats to so many decimals, more than any page shows; as they are where they would then be shown otherwise."""
    if not isinstance(value, float):
        return value
    short = round(value, decimals)
    return short if f"{short:.1f}" == f"{value:.1f}" else value
