"""Effective robustness from any published accuracy table: the line, every model's figure, a table and a JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from genrobust.data import BaselineModel, Line
from genrobust.errors import UserError
from genrobust.files import make_folder, replacing
from genrobust.published import Published, choose, listing, near
from genrobust.robustness.effective import finite
from genrobust.robustness.table import TableScores, doubts, score_table

TOP, BOTTOM = 20, 5  # models shown in the terminal from either end; the JSON file has them all


@dataclass(frozen=True, slots=True)
class Result:
    """The scores of `models`, against one line or, with a `pivot`, the two that this model parts.

    `notes` say what was left out; `warnings` what makes one doubt the figures.
    """

    models: Published
    scores: TableScores
    pivot: str | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def score(
    models: Published,
    baselines: str | None = None,
    exclude: str | None = None,
    transform: str = "logit",
    min_id: float = 0,
    pivot: str | None = None,
) -> Result:
    """Score every model against the line of its baselines: all of them, or those that `baselines` chooses.

    `baselines` and `exclude` are what `published.choose` takes; both may be given. Models below `min_id` percent, at
    0 % or 100 % where those have no finite transform, and the `pivot` itself are scored and left out of the line.
    `pivot` names the model that the set was filtered against: see `score_table`.

    Raises UserError for choices that match no model, an unknown pivot, or fewer than three baselines to a line.
    """
    names, clean, shifted = models.names, models.clean, models.shifted
    notes = list(models.notes)
    chosen = np.ones(len(names), dtype=bool)
    if baselines is not None:
        chosen, said = choose(names, baselines, "--baselines")
        notes += said
    if exclude is not None:
        excluded, said = choose(names, exclude, "--exclude")
        chosen &= ~excluded
        notes += said
    if baselines is None and exclude is None:
        notes.append("no baselines named: every model counts as one")
    if pivot is not None and pivot not in names:
        raise UserError(f"--pivot: no model {pivot!r} with both accuracies; {near(pivot, names, 'models')}")
    for reason, out in (
        ("the pivot", np.array([name == pivot for name in names])),
        (f"ID accuracy below {min_id:g} %", clean < min_id),
        (f"0 % or 100 % has no finite {transform}", ~finite(clean, shifted, transform)),
    ):
        if (chosen & out).any():
            notes.append(f"{listing(_those(names, chosen & out), 'model')} left out of the line: {reason}")
        chosen = chosen & ~out
    rows = [
        BaselineModel(name, models.shift, float(x), float(y))
        for name, x, y in zip(_those(names, chosen), clean[chosen], shifted[chosen], strict=True)
    ]
    at = None if pivot is None else float(clean[names.index(pivot)])
    scores = score_table(rows, clean, shifted, transform, at)
    return Result(models, scores, pivot, tuple(notes), tuple(doubts(scores, clean, shifted)))


def as_json(result: Result) -> dict[str, Any]:
    """The result as plain data: accuracies in percent, effective robustness in points.

    {"fit": {"slope", "intercept", "r2", "n", "residual_sd"}, "models": {name: {"id", "shift", "er", "lo", "hi",
    "extrapolated"}}}. With a pivot "fit" is the line above it, and "pivot" (its name) and "fit_below" stand beside.
    """
    columns = (result.models.clean, result.models.shifted, *_figures(result.scores))
    keys = ("id", "shift", "er", "lo", "hi", "extrapolated")
    models = {
        name: dict(zip(keys, values, strict=True))
        for name, *values in zip(result.models.names, *(column.tolist() for column in columns), strict=True)
    }
    *below, line = result.scores.lines
    extra = {"pivot": result.pivot, "fit_below": _fit(below[0])} if below else {}
    return {"fit": _fit(line), **extra, "models": models}


def write_json(result: Result, path: Path) -> None:
    """Write `as_json` to `path`, whole or not at all. Raises GenrobustError where the system refuses."""
    if path.is_dir():
        raise UserError(f"cannot write to {path}: it is a folder; name a file in it")
    make_folder(path.parent)
    text = json.dumps(as_json(result), indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path) as file:
        file.write(f"{text}\n".encode())


def describe(result: Result) -> Iterator[str]:
    """Each line in words."""
    for line in result.scores.lines:
        yield (
            f"{line.transform}(shift) = {line.slope:.4f} x {line.transform}(ID) {line.intercept:+.4f}: R² "
            f"{line.r2:.3f}, {line.n:,} baselines, ID {line.lo:.1f} to {line.hi:.1f} %, residual SD "
            f"{line.residual_sd:.3f} on that scale"
        )


def terminal_table(result: Result) -> Table:
    """The models by effective robustness, highest first; of many, only those at either end."""
    count = len(result.models.names)
    order = np.argsort(-result.scores.er, kind="stable").tolist()
    shown = order if count <= TOP + BOTTOM else [*order[:TOP], *order[-BOTTOM:]]
    of = f"{count:,}" if len(shown) == count else f"{len(shown)} of {count:,}"
    title = f"Effective robustness on {result.models.shift}, points: {of} models, highest first"
    table = Table(title=Text(title), title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("model", overflow="fold")
    for name in ("ID, %", "shift, %", "ER", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for place, i in enumerate(shown):
        er, lo, hi, outside = (column[i] for column in _figures(result.scores))
        figures = (f"{result.models.clean[i]:.1f}", f"{result.models.shifted[i]:.1f}", f"{er:+.1f}")
        gap = len(shown) < count and place == TOP - 1
        flag = "extrapolated" if outside else ""
        table.add_row(Text(result.models.names[i]), *figures, f"{lo:+.1f} to {hi:+.1f}", flag, end_section=gap)
    return table


def _figures(scores: TableScores) -> tuple[np.ndarray, ...]:
    return scores.er, scores.lo, scores.hi, scores.extrapolated


def _fit(line: Line) -> dict[str, float | int]:
    return {key: getattr(line, key) for key in ("slope", "intercept", "r2", "n", "residual_sd")}


def _those(names: tuple[str, ...], mask: np.ndarray) -> list[str]:
    return [name for name, keep in zip(names, mask, strict=True) if keep]
