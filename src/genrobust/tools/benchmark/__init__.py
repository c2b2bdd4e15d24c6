"""Benchmarks existing classifiers on generated images and on real images of the same classes."""

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
    err_console,
    in_group,
    option,
    out_console,
    tell,
    with_studies,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genrobust.study import Studies
    from genrobust.tools.benchmark.page import Benchmarked

Dataset = Annotated[
    str,
    option("--on DATASET", "RECIPE:DATASET, a generated dataset, or image folders."),
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
    from genrobust.tools.benchmark.running import BenchmarkJob, run_benchmark

    studies.require_recipe(on, real, *models)
    job = BenchmarkJob(models, on, real, out, device or "auto", labels)
    made, files = run_benchmark(job, studies)
    out_console.print(*_tables(made))
    for warning in made.warnings:
        err_console.print(f"[bold yellow]warning:[/] {escape(warning)}")
    tell(*benchmark_verdict(made))
    for note in made.notes:
        err_console.print(f"note: {escape(note)}")
    tell(*files.values())


def _tables(made: "Benchmarked") -> "Iterator[Table]":
    """Yield a table of accuracies for each way to take the mean."""
    from genrobust.report import number, span
    from genrobust.tools.benchmark.page import leading_parts

    heads = ["generated", "real", "drop, points"]
    if len(made.result.models) > 1:
        heads.append("minus the first's")
    for words, scores in leading_parts(made.result):
        title = f"Top-1, percent, {words}: generated {made.name}, real {made.real_name}"
        table = Table(title=Text(title), title_justify="left")
        table.add_column("model", overflow="fold")
        for head in heads:
            table.add_column(head, justify="right")
        for model, of in zip(made.result.models, scores, strict=True):
            cells = [f"{number(score.value)}\n{span(score)}" for score in (of.generated, of.real)]
            differences = [score for score in (of.drop, of.beyond) if score is not None]
            cells += [f"{number(score.value, True)}\n{span(score, True)}" for score in differences]
            table.add_row(Text(model), *map(Text, cells))
        yield table
