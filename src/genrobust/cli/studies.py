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
    from genrobust.study import Step, Study, TrainingRun


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
    _print_work(study, _steps(study, estimate), err_console)
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
        steps = _steps(study, estimate)
    except UserError as error:
        if study.recipe.data.source != "imagenet":
            raise
        _print_planned(study, error)
    else:
        _print_work(study, steps, out_console)
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
    with _room_told(study):
        count = len(made.images if part is None else made.make(part))
    out_console.print(f"{count:,} images in {escape(str(made.place))}")


@command()
def finetune(
    recipe: RecipeName, sets: Sets = None, out: Out = OUT, quick: Quick = False, device: Device = None
) -> None:
    """Fine-tune the recipe's generator on its real training images."""
    from genrobust.study import finetuned

    study = _study(recipe, sets, out, quick, device)
    with _room_told(study):
        out_console.print(escape(str(finetuned(study.recipe, study.data, study.out, say))))


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
    chosen = _cells(study, arm)[part]
    with _room_told(study):
        for cell, folder in zip(chosen, study.train(chosen), strict=True):
            out_console.print(f"{escape(cell.name)}: {escape(str(folder))}")


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
    with _room_told(study):
        for names, found in _others(study, models, labels or []) if models else _own(study, arm):
            table.add_row(*map(escape, names), *(f"{top1(found[t]).value:.1f}" for t in study.tests))
    out_console.print(table)


def _own(study: Study, arm: str | None) -> Iterator[tuple[list[str], Mapping[str, Predictions]]]:
    cells = [cell for cell in _cells(study, arm) if not cell.baseline]
    folders = study.train(cells)
    study.evaluate(folders)
    for cell, folder in zip(cells, folders, strict=True):
        yield [cell.of, str(cell.seed)], study.predictions(folder)


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
    steps = _steps(study, estimate)
    if any(step.left for step in steps):
        err_console.print("a report needs all of the study, so what is missing is made first:")
        _print_work(study, steps, err_console)
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


def _room_told(study: Study) -> AbstractContextManager[None]:
    from genrobust.study import room_told

    return room_told(study)


def _steps(study: Study, estimate: bool) -> list[Step]:
    """What the study is made of, done and left; to `estimate` what is left, the machine is measured if it was not."""
    from genrobust.study import calibrate, steps

    found = list(steps(study))
    if estimate:
        calibrate(study, found)
    return found


def _cells(study: Study, arm: str | None) -> list[TrainingRun]:
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

    with _room_told(study):
        summary, files = study.run()
    out_console.print()
    out_console.print(final_table(summary))
    for path in files.values():
        out_console.print(escape(str(path)))


def _print_planned(study: Study, missing: UserError) -> None:
    """What the recipe alone tells of the work, where its images are not to be had."""
    from genrobust.study import planned

    _print_work(study, list(planned(study)), out_console)
    err_console.print(f"[bold yellow]what it trains and evaluates cannot be told yet:[/] {escape(str(missing))}")


def _print_work(study: Study, steps: Sequence[Step], to: Console) -> None:
    """What is done and what is left, with the time that it will take and the room on the disk."""
    from genrobust.core import about
    from genrobust.study import disk, free, measured_rate, published, seconds_left

    table = Table("stage", "what", "done", "left here", title=escape(study.recipe.title or study.recipe.name))
    workers = study.workers
    for step in steps:
        rate = measured_rate(study.out, step.stage, step.of)
        busy = max(1, min(workers, step.jobs))
        words = "nothing" if not step.left else "not measured yet" if rate is None else about(step.left / rate / busy)
        table.add_row(step.stage, escape(step.what), f"{step.done:,} of {step.total:,} {step.unit}", words)
    to.print(table)
    for step in steps:
        if step.stage == "generate" and step.left and (told := published(study.recipe, step, study.out)):
            to.print(f"{escape(step.what)}: {escape(told)}")
    seconds, unknown = seconds_left(study, steps)
    if seconds or unknown:
        parts = ([about(seconds)] if seconds else []) + (["what is not measured yet"] if unknown else [])
        with_workers = f", {workers} workers at a time" if workers > 1 else ""
        need, room = disk(study.recipe, steps) / 1e9, free(study.out) / 1e9
        to.print(
            f"left: {' and '.join(parts)}{with_workers}; about {need:.2f} GB of {room:.0f} GB free for "
            f"{escape(str(study.out))}"
        )
        if need > room:
            to.print("[bold yellow]warning:[/] that is more than is free: make room, or choose another --out")
