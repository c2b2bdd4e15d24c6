"""Benchmarks classifiers that exist on generated images, beside real images of the same classes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from genrobust.cli import (
    COMMANDS,
    MODELS,
    USE,
    ClassifierLabels,
    Device,
    datasets_of_recipes,
    err_console,
    in_group,
    option,
    out_console,
    tell,
    with_studies,
)

if TYPE_CHECKING:
    from genrobust.core import Score
    from genrobust.study import Studies
    from genrobust.tools.benchmark.scoring import ModelScores

Dataset = Annotated[
    str,
    option(
        "--on DATASET", "RECIPE:DATASET, a generated dataset, or image folders.", autocompletion=datasets_of_recipes
    ),
]
Real = Annotated[
    str | None,
    option("--real DIR|RECIPE[:SET]", "Real test images; default: the clean test set of the recipe that --on names."),
]
PageFolder = Annotated[Path | None, option("--out DIR", "Folder for the page; default: benchmarks in --runs.")]


@COMMANDS.register("benchmark")
@in_group(USE)
@with_studies()
def benchmark(
    studies: "Studies",
    models: Annotated[list[str], MODELS],
    on: Dataset,
    device: Device,
    real: Real = None,
    labels: ClassifierLabels = None,
    out: PageFolder = None,
) -> None:
    """Score classifiers on generated images, and on real images of the same classes.

    Example: genrobust benchmark --models pictograms:real --on pictograms:generated
    """
    from genrobust.tools.benchmark.page import benchmark_verdict
    from genrobust.tools.benchmark.running import run_benchmark

    studies.require_recipe(on, real, *models)
    made, files = run_benchmark(models, on, studies, real, out, device or "auto", labels)
    out_console.print(_table(made.result.models, made.name, made.real_name))
    tell(*benchmark_verdict(made))
    for note in made.notes:
        err_console.print(f"note: {escape(note)}")
    tell(*files.values())


def _table(models: "tuple[ModelScores, ...]", generated: str, real: str) -> Table:
    styled = models[0].within is not None
    over = "mean over styles" if styled else "percent"
    table = Table(title=Text(f"Top-1, {over}: generated {generated}, real {real}"), title_justify="left")
    table.add_column("model", overflow="fold")
    drops = ("drop within styles, points", "drop over all images") if styled else ("drop, points",)
    for name in ("checkpoints", "generated", "real", *drops):
        table.add_column(name, justify="right")
    for model in models:
        scores = model.leading.scores
        metrics = [_metric(scores.generated), _metric(scores.real), _metric(scores.drop, signed=True)]
        if styled:
            metrics.append(_metric(model.scores.drop, signed=True))
        table.add_row(Text(model.name), str(model.checkpoints), *metrics)
    return table


def _metric(score: "Score", signed: bool = False) -> Text:
    from genrobust.report import number, span

    return Text(f"{number(score.value, signed)}\n{span(score, signed)}")
