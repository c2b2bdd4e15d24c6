"""Effective robustness from any published accuracy table: the line in words, a table and a JSON file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from genrobust.core import Line, OutputFile, page_json
from genrobust.data import count_names
from genrobust.robustness import PublishedScores

TOP, BOTTOM = 20, 5  # models shown in the terminal from either end; the JSON file has them all


def write_json(result: PublishedScores, path: Path, inputs: Iterable[Path] = (), overwrite: bool = False) -> None:
    """Write the result to `path`, whole or not at all: accuracies in percent, effective robustness in points.

    {"fit": {"transform", "slope", "intercept", "r2", "n", "residual_sd", "lo", "hi"}, "models": {name: {"id", "shift",
    "er", "lo", "hi", "extrapolated"}}}.

    `inputs` are the tables that it was read from. It is written as an `OutputFile`.

    Raises:
        UserError: `path` is no .json, one of `inputs`, exists and is not to `overwrite`, or cannot be written to.
        DiskFull, GenrobustError: There is no room; the system refuses otherwise.
    """
    rows = zip(*(column.tolist() for column in _columns(result).values()), strict=True)
    models = {
        name: dict(zip(_columns(result), row, strict=True)) for name, row in zip(result.models.names, rows, strict=True)
    }
    fit = ("slope", "transform", "intercept", "r2", "n", "residual_sd", "lo", "hi")
    told = {"fit": {key: getattr(result.line, key) for key in fit}, "models": models}
    with OutputFile(path, ".json", inputs, overwrite).writing() as file:
        file.write(page_json(told).encode())


def left_out_notes(result: PublishedScores) -> Iterator[str]:
    """Name the baselines that were left out of the line, by reason."""
    for reason, names in result.left_out.items():
        yield f"{count_names(names, 'model')} left out of the line: {reason}"


def describe(line: Line) -> str:
    """Describe a line in words."""
    return (
        f"{line.transform}(shift) = {line.slope:.4f} x {line.transform}(ID) {line.intercept:+.4f}: R² "
        f"{line.r2:.3f}, {line.n:,} baselines, ID {line.lo:.1f} to {line.hi:.1f} %, residual SD "
        f"{line.residual_sd:.3f} on that scale"
    )


def terminal_table(result: PublishedScores) -> Table:
    """Return the models by effective robustness, highest first; of many, only those at either end."""
    count = len(result.models.names)
    order = np.argsort(-result.er, kind="stable").tolist()
    shown = order if count <= TOP + BOTTOM else [*order[:TOP], *order[-BOTTOM:]]
    shown_count = f"{count:,}" if len(shown) == count else f"{len(shown)} of {count:,}"
    title = f"Effective robustness on {result.models.shift}, points: {shown_count} models, highest first"
    table = Table(title=Text(title), title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("model", overflow="fold")
    for name in ("ID, %", "shift, %", "ER", "95 % over the line"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for place, i in enumerate(shown):
        clean, shifted, er, lo, hi, outside = (column[i] for column in _columns(result).values())
        gap = len(shown) < count and place == TOP - 1
        metrics = [f"{clean:.1f}", f"{shifted:.1f}", f"{er:+.1f}", f"{lo:+.1f} to {hi:+.1f}"]
        table.add_row(Text(result.models.names[i]), *metrics, "extrapolated" if outside else "", end_section=gap)
    return table


def _columns(result: PublishedScores) -> dict[str, np.ndarray]:
    """The metrics of all models, [M] each."""
    columns = {"id": result.models.clean, "shift": result.models.shifted, "er": result.er}
    return columns | {"lo": result.lo, "hi": result.hi, "extrapolated": result.extrapolated}
