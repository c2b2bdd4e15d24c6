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
    from genrobust.study import Studies
    from genrobust.tools.benchmark.page import Benchmarked

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
@with_studies
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
    out_console.print(_table(made))
    tell(*benchmark_verdict(made))
    for note in made.notes:
        err_console.print(f"note: {escape(note)}")
    tell(*files.values())


def _table(made: "Benchmarked") -> Table:
    from genrobust.report import number, span
    from genrobust.tools.benchmark.page import accuracies, in_words, leading_parts

    title = f"Top-1, percent: generated {made.name}, real {made.real_name}"
    table = Table(title=Text(title), title_justify="left")
    table.add_column("model", overflow="fold")
    for name in ("images", "generated", "real", "drop, points"):
        table.add_column(name, justify="left" if name == "images" else "right")
    for part in leading_parts(made.result):
        for model, scores in zip(made.result.models, part.scores, strict=True):
            *both, drop = accuracies(scores)
            metrics = [f"{number(of.value)}\n{span(of)}" for of in both]
            change = f"{number(drop.value, True)}\n{span(drop, True)}"
            table.add_row(Text(model), Text(in_words(part, made.result)), *map(Text, (*metrics, change)))
    return table
