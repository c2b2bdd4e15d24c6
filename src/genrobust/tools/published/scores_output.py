"""Effective robustness of published models: the line in words, a table and a JSON file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from genrobust.core import Line
from genrobust.data import count_names
from genrobust.robustness import PublishedScores
from genrobust.store import OutputFile, page_json

# Models in the terminal from either end. The JSON file has all.
TOP = 20
BOTTOM = 5
FIT = ("slope", "transform", "intercept", "r2", "n", "residual_sd", "lo", "hi")


def write_json(result: PublishedScores, path: Path, inputs: Iterable[Path] = (), overwrite: bool = False) -> None:
    """Write the result to `path`, whole or not at all: accuracies in percent, effective robustness in points.

    {"fit": {"transform", "slope", "intercept", "r2", "n", "residual_sd", "lo", "hi"}, "models": {name: {"id", "shift",
    "er", "lo", "hi", "extrapolated"}}}.

    Args:
        inputs: The files that were read, which must not be overwritten.

    Raises:
        UserError: `path` is no .json, one of `inputs`, exists without `overwrite`, or cannot be written to.
        DiskFull, GenrobustError: The disk is full; the system refuses otherwise.
    """
    fit = {key: getattr(result.line, key) for key in FIT}
    models = {name: _model_to_json(result, i) for i, name in enumerate(result.models.names)}
    with OutputFile(path, ".json", inputs, overwrite).writing() as file:
        file.write(page_json({"fit": fit, "models": models}).encode())


def _model_to_json(result: PublishedScores, model: int) -> dict[str, Any]:
    return {
        "id": float(result.models.clean[model]),
        "shift": float(result.models.shifted[model]),
        "er": float(result.er[model]),
        "lo": float(result.lo[model]),
        "hi": float(result.hi[model]),
        "extrapolated": bool(result.extrapolated[model]),
    }


def left_out_notes(result: PublishedScores) -> Iterator[str]:
    """Name the baselines that were left out of the line, by reason."""
    for reason, names in result.left_out.items():
        yield f"{count_names(names, 'model')} left out of the line: {reason}"


def describe(line: Line) -> str:
    """Write the equation of a line, its fit, and the range of its baselines."""
    return (
        f"{line.transform}(shift) = {line.slope:.4f} x {line.transform}(ID) {line.intercept:+.4f}: R² "
        f"{line.r2:.3f}, {line.n:,} baselines, ID {line.lo:.1f} to {line.hi:.1f} %, residual SD "
        f"{line.residual_sd:.3f} on that scale"
    )


def terminal_table(result: PublishedScores) -> Table:
    """Return the models by effective robustness, highest first; of many, only those at either end."""
    count = len(result.models.names)
    shown = np.argsort(-result.er, kind="stable").tolist()
    number = f"{count:,}"
    is_cut = count > TOP + BOTTOM
    if is_cut:
        shown = [*shown[:TOP], *shown[-BOTTOM:]]
        number = f"{len(shown)} of {count:,}"
    title = f"Effective robustness on {result.models.shift}, points: {number} models, highest first"
    table = Table(title=Text(title), title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("model", overflow="fold")
    for name in ("ID, %", "shift, %", "ER", "95 % over the line"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for rank, model in enumerate(shown):
        is_last_of_top = is_cut and rank == TOP - 1
        table.add_row(Text(result.models.names[model]), *_cells(result, model), end_section=is_last_of_top)
    return table


def _cells(result: PublishedScores, model: int) -> list[str]:
    return [
        f"{result.models.clean[model]:.1f}",
        f"{result.models.shifted[model]:.1f}",
        f"{result.er[model]:+.1f}",
        f"{result.lo[model]:+.1f} to {result.hi[model]:+.1f}",
        "extrapolated" if result.extrapolated[model] else "",
    ]
