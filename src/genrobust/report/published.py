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

from genrobust.core import BaselineModel, Line, Plane, UserError, make_folder, replacing
from genrobust.data import Published, choose, listing, near
from genrobust.robustness import TableScores, doubts, finite_rows, score_table, score_table_over

TOP, BOTTOM = 20, 5  # models shown in the terminal from either end; the JSON file has them all


@dataclass(frozen=True, slots=True)
class Result:
    """The scores of `models`, against one line or, with a `pivot`, the two that this model parts.

    Over several ID sets they are against a plane, and `by_id` has those against the line over each one alone. `notes`
    say what was left out; `warnings` what makes one doubt the figures.
    """

    models: Published
    scores: TableScores
    by_id: tuple[TableScores, ...]
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
    `pivot` names the model that the set was filtered against: see `score_table`. Several ID sets are for models that
    learned from different data: see `score_table_over`.

    Raises UserError for choices that match no model, an unknown pivot, a pivot with several ID sets, or too few
    baselines: three to a line, four to a plane over two ID sets.
    """
    names, ids, shifted = models.names, models.ids, models.shifted
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
        raise UserError(f"--pivot: no model {pivot!r} with all accuracies; {near(pivot, names, 'models')}")
    if pivot is not None and ids.shape[1] > 1:
        raise UserError("--pivot parts the models by one ID accuracy: give one --id, or leave --pivot out")
    for reason, out in (
        ("the pivot", np.array([name == pivot for name in names])),
        (f"ID accuracy below {min_id:g} %", ids.min(axis=1) < min_id),
        (f"0 % or 100 % has no finite {transform}", ~finite_rows(ids, shifted, transform)),
    ):
        if (chosen & out).any():
            notes.append(f"{listing(_those(names, chosen & out), 'model')} left out of the line: {reason}")
        chosen = chosen & ~out
    by_id = [_against_line(models, clean, chosen, transform, pivot) for clean in ids.T]
    warnings = [doubt for alone, clean in zip(by_id, ids.T, strict=True) for doubt in doubts(alone, clean, shifted)]
    if len(by_id) == 1:
        return Result(models, by_id[0], (), pivot, tuple(notes), tuple(warnings))
    scores = score_table_over(ids, shifted, chosen, models.shift, models.id_columns, transform)
    return Result(models, scores, tuple(by_id), None, tuple(notes), tuple(dict.fromkeys(warnings)))


def _against_line(
    models: Published, clean: np.ndarray, chosen: np.ndarray, transform: str, pivot: str | None
) -> TableScores:
    rows = [
        BaselineModel(name, models.shift, float(x), float(y))
        for name, x, y in zip(_those(models.names, chosen), clean[chosen], models.shifted[chosen], strict=True)
    ]
    at = None if pivot is None else float(clean[models.names.index(pivot)])
    return score_table(rows, clean, models.shifted, transform, at)


def as_json(result: Result) -> dict[str, Any]:
    """The result as plain data: accuracies in percent, effective robustness in points.

    {"fit": {"slope", "intercept", "r2", "n", "residual_sd"}, "models": {name: {"id", "shift", "er", "lo", "hi",
    "extrapolated"}}}. With a pivot "fit" is the line above it, and "pivot" (its name) and "fit_below" stand beside.

    Over several ID sets "ids" names their columns, "fit" is the plane and has "slopes", a list in their order, as a
    model's "id" is; "fit_by_id" and a model's "er_by_id" list the lines over each one alone and what lies beyond them.
    """
    plane, models = result.scores.plane, result.models
    columns = {"id": models.ids if plane else models.ids[:, 0], "shift": models.shifted}
    columns |= dict(zip(("er", "lo", "hi", "extrapolated"), _figures(result.scores), strict=True))
    if plane:
        columns["er_by_id"] = np.stack([alone.er for alone in result.by_id], axis=1)
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    of_models = {name: dict(zip(columns, row, strict=True)) for name, row in zip(models.names, rows, strict=True)}
    if plane:
        fits = [_fit(alone.lines[0]) for alone in result.by_id]
        return {"ids": list(plane.id_sets), "fit": _fit(plane), "fit_by_id": fits, "models": of_models}
    *below, line = result.scores.lines
    extra = {"pivot": result.pivot, "fit_below": _fit(below[0])} if below else {}
    return {"fit": _fit(line), **extra, "models": of_models}


def write_json(result: Result, path: Path) -> None:
    """Write `as_json` to `path`, whole or not at all. Raises GenrobustError where the system refuses."""
    if path.is_dir():
        raise UserError(f"cannot write to {path}: it is a folder; name a file in it")
    make_folder(path.parent)
    text = json.dumps(as_json(result), indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path) as file:
        file.write(f"{text}\n".encode())


def describe(result: Result) -> Iterator[str]:
    """Each line, or the plane, in words."""
    plane = result.scores.plane
    if plane:
        scale = plane.transform
        terms = " ".join(f"{slope:+.4f} x {scale}(ID {i + 1})" for i, slope in enumerate(plane.slopes))
        yield (
            f"{scale}(shift) = {terms} {plane.intercept:+.4f}: R² {plane.r2:.3f}, {plane.n:,} baselines, "
            f"residual SD {plane.residual_sd:.3f} on that scale"
        )
        for i, (name, lo, hi) in enumerate(zip(plane.id_sets, plane.lo, plane.hi, strict=True)):
            yield f"ID {i + 1} is {name}, {lo:.1f} to {hi:.1f} % of the baselines"
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
    many = len(result.by_id)
    id_heads = [f"ID {i + 1}, %" for i in range(many)] or ["ID, %"]
    for name in (*id_heads, "shift, %", "ER", "95 % interval", *(f"ER on ID {i + 1}" for i in range(many))):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for place, i in enumerate(shown):
        er, lo, hi, outside = (column[i] for column in _figures(result.scores))
        figures = [f"{value:.1f}" for value in (*result.models.ids[i], result.models.shifted[i])]
        alone = [f"{scores.er[i]:+.1f}" for scores in result.by_id]
        gap = len(shown) < count and place == TOP - 1
        flag = "extrapolated" if outside else ""
        interval = f"{lo:+.1f} to {hi:+.1f}"
        table.add_row(Text(result.models.names[i]), *figures, f"{er:+.1f}", interval, *alone, flag, end_section=gap)
    return table


def _figures(scores: TableScores) -> tuple[np.ndarray, ...]:
    return scores.er, scores.lo, scores.hi, scores.extrapolated


def _fit(fit: Line | Plane) -> dict[str, Any]:
    slope = {"slope": fit.slope} if isinstance(fit, Line) else {"slopes": list(fit.slopes)}
    return {**slope, **{key: getattr(fit, key) for key in ("intercept", "r2", "n", "residual_sd")}}


def _those(names: tuple[str, ...], mask: np.ndarray) -> list[str]:
    return [name for name, keep in zip(names, mask, strict=True) if keep]
