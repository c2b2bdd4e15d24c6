"""The command that scores existing classifiers on a generated dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from genrobust.cli.app import MODELS, RUNS, Device, ModelLabels, Runs, command, err_console, out_console, say

if TYPE_CHECKING:
    from genrobust.core import Score
    from genrobust.robustness import ModelScores


@command()
def benchmark(
    models: Annotated[list[str], MODELS],
    on: Annotated[
        str,
        typer.Option("--on", metavar="DATASET", help="A generated dataset, image folders, or RECIPE:DATASET."),
    ],
    real: Annotated[
        str | None,
        typer.Option("--real", metavar="DIR|RECIPE", help="Real test images; default: those of the recipe of --on."),
    ] = None,
    labels: ModelLabels = None,
    runs: Runs = RUNS,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the page goes; default: benchmarks in --runs.")
    ] = None,
    device: Device = None,
) -> None:
    """Score existing classifiers on generated images and on real ones of the same classes."""
    from genrobust.report import benchmark_verdict
    from genrobust.study import run_benchmark as run_benchmark

    made, files = run_benchmark(models, on, real, runs, out, device or "auto", say, labels or [])
    out_console.print(_table(made.result.models, made.name, made.real_name))
    for sentence in benchmark_verdict(made):
        out_console.print(escape(sentence))
    for note in made.notes:
        err_console.print(f"note: {escape(note)}")
    for path in files.values():
        out_console.print(escape(str(path)))


def _table(models: tuple[ModelScores, ...], generated: str, real: str) -> Table:
    table = Table(title=Text(f"Top-1, percent: generated {generated}, real {real}"), title_justify="left")
    table.add_column("model", overflow="fold")
    for name in ("checkpoints", "generated", "real", "drop, points"):
        table.add_column(name, justify="right")
    for model in models:
        scores = model.scores
        figures = (_figure(scores.generated), _figure(scores.real), _figure(scores.drop, signed=True))
        table.add_row(Text(model.name), str(len(model.each)), *figures)
    return table


def _figure(score: Score, signed: bool = False) -> Text:
    from genrobust.report import number, span

    return Text(f"{number(score.value, signed)}\n{span(score, signed)}")
