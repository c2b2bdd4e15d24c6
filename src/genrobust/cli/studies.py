"""The commands that take a recipe: the whole study, what there is to do, and one command a stage."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from genrobust.cli.app import (
    MODELS,
    OUT,
    Address,
    ArmName,
    DatasetName,
    Device,
    Estimate,
    ExecutorName,
    ModelLabels,
    Out,
    Quick,
    RecipeName,
    Sets,
    Workers,
    command,
    err_console,
    out_console,
    say,
)
from genrobust.core import UserError

if TYPE_CHECKING:  # what a command needs it imports itself, so that --help answers at once
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from rich.console import Console

    from genrobust.core import Predictions
    from genrobust.study import Row, Study, TrainingRun


@command()
def run(
    recipe: RecipeName,
    sets: Sets = None,
    out: Out = OUT,
    quick: Quick = False,
    device: Device = None,
    executor: ExecutorName = "processes",
    workers: Workers = None,
    address: Address = None,
    estimate: Estimate = True,
) -> None:
    """Run a study: generate, train every arm, evaluate, report."""
    study = _study(recipe, sets, out, quick, device, executor, workers, address)
    _print_work(study, _rows(study, estimate), err_console)
    _write_report(study)


@command()
def show(
    recipe: RecipeName,
    sets: Sets = None,
    out: Out = OUT,
    quick: Quick = False,
    device: Device = None,
    workers: Workers = None,
    estimate: Estimate = True,
    values: Annotated[bool, typer.Option("--yaml", help="Print all the recipe's values instead, as a recipe.")] = False,
) -> None:
    """Show what of a recipe is done and what would run, or with --yaml the recipe itself."""
    from genrobust.recipe import recipe_yaml

    study = _study(recipe, sets, out, quick, device, workers=workers)
    if values:
        out_console.print(escape(recipe_yaml(study.recipe)), end="")
        return
    try:
        rows = _rows(study, estimate)
    except UserError as error:
        if study.recipe.data.source != "imagenet":
            raise
        _print_planned(study, error)
    else:
        _print_work(study, rows, out_console)
    if unmixed := study.recipe.unmixed_sets():
        out_console.print(
            escape(f"no arm mixes {', '.join(unmixed)}; genrobust generate {recipe} --dataset NAME makes one")
        )


@command()
def plan(
    recipe: RecipeName,
    sets: Sets = None,
    dataset: DatasetName = "generated",
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, help="How many requests to print.")] = 20,
) -> None:
    """Print the first requests of the plan of a dataset."""
    study = _study(recipe, sets, OUT, False, None)
    requests = study.dataset(dataset).plan
    shown = [requests[index] for index in range(min(count, len(requests)))]
    columns = ["key", "seed", "style", "prompt", *(["from the real image"] if shown[0].source else [])]
    table = Table(title=f"{len(shown):,} of {len(requests):,} requests")
    for column in columns:
        table.add_column(column, overflow="fold")  # keys and seeds are whole on a narrow screen
    for request in shown:
        cells = (request.key, str(request.seed), request.style, request.prompt, request.source or "")
        table.add_row(*map(escape, cells[: len(columns)]))
    out_console.print(table)
    if rule := study.recipe.filter_of(dataset):
        out_console.print(f"a filter leaves some of the images out once they are made: {escape(rule.in_words())}")


@command()
def generate(
    recipe: RecipeName,
    sets: Sets = None,
    out: Out = OUT,
    quick: Quick = False,
    device: Device = None,
    dataset: DatasetName = "generated",
    shards: Annotated[
        str | None,
        typer.Option("--shards", metavar="K/N", help="Part K of N of the shards, from 1: others make the rest."),
    ] = None,
    executor: ExecutorName = "processes",
    workers: Workers = None,
    address: Address = None,
) -> None:
    """Generate what is missing of the recipe's dataset."""
    part = None if shards is None else _part("--shards", shards)
    study = _study(recipe, sets, out, quick, device, executor, workers, address)
    made = study.dataset(dataset)
    with _explain_disk_full(study):
        count = len(made.images if part is None else made.make(part))
    out_console.print(f"{count:,} images in {escape(str(made.folder))}")


@command()
def finetune(
    recipe: RecipeName, sets: Sets = None, out: Out = OUT, quick: Quick = False, device: Device = None
) -> None:
    """Fine-tune the recipe's generator on its real training images."""
    study = _study(recipe, sets, out, quick, device)
    with _explain_disk_full(study):
        stage = study.graph.finetune()
        stage.run()
        out_console.print(escape(str(stage.trained.folder)))


@command()
def train(
    recipe: RecipeName,
    sets: Sets = None,
    out: Out = OUT,
    quick: Quick = False,
    device: Device = None,
    arm: ArmName = None,
    cells: Annotated[
        str | None,
        typer.Option("--cells", metavar="K/N", help="Part K of N of arms x seeds and baselines, from 1."),
    ] = None,
    executor: ExecutorName = "processes",
    workers: Workers = None,
    address: Address = None,
) -> None:
    """Train the classifiers of the recipe's arms, and of its own baseline line."""
    part = slice(None) if cells is None else _part("--cells", cells)
    study = _study(recipe, sets, out, quick, device, executor, workers, address)
    chosen = _runs(study, arm)[part]
    with _explain_disk_full(study):
        for run, folder in zip(chosen, study.train(chosen), strict=True):
            out_console.print(f"{escape(run.name)}: {escape(str(folder))}")


@command()
def evaluate(
    recipe: RecipeName,
    sets: Sets = None,
    out: Out = OUT,
    quick: Quick = False,
    device: Device = None,
    arm: ArmName = None,
    models: Annotated[list[str] | None, MODELS] = None,
    labels: ModelLabels = None,
    executor: ExecutorName = "processes",
    workers: Workers = None,
    address: Address = None,
) -> None:
    """Score the recipe's classifiers, or those that --models name, on every test set; trains what is missing."""
    from genrobust.robustness import top1

    study = _study(recipe, sets, out, quick, device, executor, workers, address)
    if models and arm is not None:
        raise UserError(f"--arm {arm} is one of the recipe's own classifiers, and --models names others: leave one out")
    if labels and not models:
        raise UserError(f"--labels {labels[0]} names classes of other models: name these with --models")
    heads = ["classifier"] if models else ["arm", "seed"]
    table = Table(*heads, *map(escape, study.tests), title="top-1, %, over each set's own classes")
    with _explain_disk_full(study):
        for names, found in _others(study, models, labels or []) if models else _own(study, arm):
            table.add_row(*map(escape, names), *(f"{top1(found[t]).value:.1f}" for t in study.tests))
    out_console.print(table)


def _own(study: Study, arm: str | None) -> Iterator[tuple[list[str], Mapping[str, Predictions]]]:
    runs = [run for run in _runs(study, arm) if not run.baseline]
    for run, found in zip(runs, study.predictions(runs), strict=True):
        yield [run.of, str(run.seed)], found


def _others(
    study: Study, models: Sequence[str], labels: Sequence[str]
) -> Iterator[tuple[list[str], Mapping[str, Predictions]]]:
    from genrobust.study import predictions_of

    return (([name], found) for name, found in predictions_of(study, models, labels, say))


@command()
def report(
    recipe: RecipeName,
    sets: Sets = None,
    out: Out = OUT,
    quick: Quick = False,
    device: Device = None,
    executor: ExecutorName = "processes",
    workers: Workers = None,
    address: Address = None,
    estimate: Estimate = True,
) -> None:
    """Write the report again; makes what is missing of the study first."""
    study = _study(recipe, sets, out, quick, device, executor, workers, address)
    rows = _rows(study, estimate)
    if any(row.left for row in rows):
        err_console.print("a report needs all of the study, so what is missing is made first:")
        _print_work(study, rows, err_console)
    _write_report(study)


def _study(
    recipe: str,
    sets: list[str] | None,
    out: str,
    quick: bool,
    device: str | None,
    executor: str = "processes",
    workers: int | None = None,
    address: str | None = None,
) -> Study:
    from genrobust.core import remote_of
    from genrobust.recipe import load_recipe
    from genrobust.study import Study, open_executor

    overrides = [*(sets or []), *([f"device={device}"] if device else [])]
    words = ["genrobust", "run", recipe, *(["--quick"] if quick else [])]
    for override in overrides:
        words += ["--set", override]
    loaded = load_recipe(recipe, overrides, quick)
    study = Study(loaded, out, shlex.join(words), say, open_executor(executor, loaded, address, workers))
    if (remote := remote_of(study.out)) is not None:
        say(f"{remote.url}: this machine's copy is {study.out}")
    return study


def _explain_disk_full(study: Study) -> AbstractContextManager[None]:
    from genrobust.study import explain_disk_full

    return explain_disk_full(study)


def _rows(study: Study, estimate: bool) -> list[Row]:
    """Return the work of the study; to `estimate` what is left, the machine is measured where it was not yet."""
    from genrobust.study import calibrate

    rows = study.rows()
    if estimate:
        calibrate(study.context, rows)
    return rows


def _runs(study: Study, arm: str | None) -> list[TrainingRun]:
    from genrobust.study import arm_called

    return study.runs(None if arm is None else arm_called(study.recipe, arm).name)


def _part(option: str, text: str) -> slice:
    """Every N-th, from the K-th: of parts that are numbered from 1, as SLURM's job arrays are with --array=1-N."""
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise UserError(f"{option} {text}: write K/N, part K of N, the first of which is 1: {option} 3/16")
    return slice(int(number) - 1, None, int(parts))


def _write_report(study: Study) -> None:
    from genrobust.report import final_table

    with _explain_disk_full(study):
        summary, files = study.run()
    out_console.print()
    out_console.print(final_table(summary))
    for path in files.values():
        out_console.print(escape(str(path)))


def _print_planned(study: Study, missing: UserError) -> None:
    """Print what the recipe alone says of the work, where its images are not here."""
    from genrobust.study import generation_time, requests_of

    for name, count in requests_of(study.recipe).items():
        took = generation_time(count, study.recipe.generation(name)[0], study.context.worker, study.out)
        out_console.print(f"{escape(name)}: {escape(took)}")
    err_console.print(f"[bold yellow]what it trains and evaluates is not known yet:[/] {escape(str(missing))}")


def _print_work(study: Study, rows: Sequence[Row], to: Console) -> None:
    """Print what is done and what is left, with the time and the disk space that it will take."""
    from genrobust.core import about
    from genrobust.study import disk, free, published_time, row_seconds, seconds_left

    table = Table("stage", "what", "done", "left here", title=escape(study.recipe.title or study.recipe.name))
    for row in rows:
        seconds = row_seconds(row, study.out)
        words = "nothing" if not row.left else "not measured yet" if seconds is None else about(seconds)
        table.add_row(row.stage.name, escape(row.name), f"{row.done:,} of {row.total:,} {row.unit}", words)
    to.print(table)
    for row in rows:
        if published := published_time(row, study.out):
            to.print(f"{escape(row.name)}: {escape(published)}")
    seconds, unknown = seconds_left(rows, study.out)
    if seconds or unknown:
        workers = study.context.executor.workers()
        parts = ([about(seconds)] if seconds else []) + (["what is not measured yet"] if unknown else [])
        with_workers = f", {workers} workers at a time" if workers > 1 else ""
        need, room = disk(rows) / 1e9, free(study.out) / 1e9
        to.print(
            f"left: {' and '.join(parts)}{with_workers}; about {need:.2f} GB of {room:.0f} GB free for "
            f"{escape(str(study.out))}"
        )
        if need > room:
            to.print("[bold yellow]warning:[/] that is more than is free: make room, or choose another --out")
