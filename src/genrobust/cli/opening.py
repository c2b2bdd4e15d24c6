"""Opens the studies and the classifiers that a command's options name, and prints their work."""

import inspect
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table

from genrobust.cli.options import (
    OUT,
    Address,
    Device,
    ExecutorName,
    Out,
    Quick,
    RecipeName,
    Run,
    Runs,
    Sets,
    Workers,
)
from genrobust.cli.program import err_console, say, words_of
from genrobust.core import UserError, about

if TYPE_CHECKING:  # a command imports what it needs when it runs, so that --help answers at once
    from rich.console import Console

    from genrobust.classifiers import OpenClassifier
    from genrobust.study import Row, Studies, Study

Function = Callable[..., Any]


def open_study(
    recipe: RecipeName,
    sets: Sets = None,
    out: Out = OUT,
    quick: Quick = False,
    device: Device = None,
    executor: ExecutorName = None,
    workers: Workers = None,
    address: Address = None,
) -> "Study":
    """The study of a recipe, which logs its progress to the terminal; the parameters are options of commands."""
    from genrobust.core import local_folder, remote_of
    from genrobust.study import Studies, open_executor

    studies = Studies(out, say, sets or [], quick, device)
    words = ["genrobust", "run", recipe, *(["--quick"] if quick else [])]
    for override in studies.overrides:
        words += ["--set", override]
    folder = local_folder(out)
    opens = partial(open_executor, out=folder, kind=executor, workers=workers, address=address)
    study = studies.open(recipe, shlex.join(words), opens)
    if (remote := remote_of(study.out)) is not None:
        say(f"{remote.url}: the copy on this machine is {study.out}")
    return study


def open_studies(
    ctx: typer.Context,
    sets: Sets = None,
    quick: Quick = False,
    run: Run = False,
    runs: Runs = OUT,
    device: Device = None,
) -> "Studies":
    """The studies of the recipes that a command names; the parameters are options of commands.

    What is missing of them runs with `run`, or after a yes on the terminal.
    """
    from genrobust.study import Studies

    def allow(missing: "Sequence[Row]") -> None:
        if run:
            return
        measure(missing)
        err_console.print("not there yet:")
        print_work(missing, err_console)
        if not (sys.stdin.isatty() and _confirm("Run these jobs first?")):
            raise UserError(f"the jobs listed above are missing; to run them first:\n{words_of(ctx, '--run')}")

    return Studies(runs, say, sets or [], quick, device, allow)


def list_work(study: "Study", begins: bool = False) -> "list[Row]":
    """Return the work of the study, which `begins` now, and measure this machine if that was not done yet."""
    rows = study.rows()
    if begins and any(row.left for row in rows):
        rows[0].stage.context.executor.prepare()
    warn_of_images(study)
    measure(rows)
    return rows


def measure(rows: "Sequence[Row]") -> None:
    """Measure how fast this machine's CPU trains, for a second, if some of `rows` is left and it is not known.

    Not for a GPU, whose speed depends more on what feeds it, nor for a cluster, whose nodes may differ: there the first
    jobs of a stage are measured.
    """
    from genrobust.study import measure_machine

    context = rows[0].stage.context
    if context.device == "cpu" and context.executor.here:
        costs = [(row.stage, row.stage.cost(job)) for row in rows for job in row.left]
        ways = {(stage.worker, stage.threads, cost.precision) for stage, cost in costs if not cost.of}
        measure_machine(context.out, ways)


def warn_of_images(study: "Study") -> None:
    """Print what is wrong with the images of the study, such as copies of test images."""
    for notice in study.notices():
        err_console.print(f"[bold yellow]warning:[/] {escape(notice)}")


def print_work(rows: "Sequence[Row]", to: "Console", title: str | None = None) -> None:
    """Print done and remaining work, with the time that it takes and the disk space that it needs."""
    from genrobust.study import disk, seconds_left

    context = rows[0].stage.context
    table = Table(title=title and escape(title))
    for heading in ("stage", "what", "done", "left here"):
        table.add_column(heading, overflow="fold")  # never cuts the name of an arm
    for row in rows:
        alone = row.stage.seconds(row.left)
        words = "nothing" if not row.left else "not measured yet" if alone is None else about(alone)
        table.add_row(row.stage.name, escape(row.name), f"{row.done:,} of {row.total:,} {row.unit}", words)
    to.print(table)
    seconds, unknown = seconds_left(rows)
    if not seconds and not unknown:
        return
    workers = context.executor.workers()
    parts = ([about(seconds)] if seconds else []) + (["steps that are not measured yet"] if unknown else [])
    with_workers = f", with {workers} workers" if workers > 1 else ""
    need, free = disk(rows) / 1e9, _free(context.out) / 1e9
    to.print(
        f"left: {' and '.join(parts)}{with_workers}; about {need:.2f} GB of {free:.0f} GB free for "
        f"{escape(str(context.out))}"
    )
    if need > free:
        to.print("[bold yellow]warning:[/] not enough disk space: free some, or choose another --runs")


def _free(out: Path) -> int:
    """The bytes that are free where `out` lies or will lie."""
    return shutil.disk_usage(next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())).free


def _confirm(question: str) -> bool:
    """Ask the user, who may end the command by Ctrl-C or Ctrl-D."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None


def with_study(function: Function) -> Function:
    """Make a function of a Study a command with the options of `open_study` in its place.

    The other parameters of the function are the command's own options; one that is shared gets its value, too.
    """
    return _with_options(open_study, function)


def with_studies(function: Function) -> Function:
    """Make a function of Studies a command as `with_study` does, with the options of `open_studies`."""
    return _with_options(open_studies, function)


def _with_options(opener: Function, function: Function) -> Function:
    shared = list(inspect.signature(opener).parameters.values())
    own = list(inspect.signature(function).parameters.values())[1:]

    @wraps(function)
    def run(**given: Any) -> None:
        opened = opener(**{parameter.name: given[parameter.name] for parameter in shared})
        function(opened, **{parameter.name: given[parameter.name] for parameter in own})

    taken = {parameter.name: parameter for parameter in [*own, *shared]}
    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in taken.values()]
    run.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]  # typer reads both
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
    return run


def open_named(studies: "Studies", model: str, labels: Path | None) -> "OpenClassifier":
    """Open the classifier that `model` names, with the class names in the file `labels`.

    An arm prepares images as its recipe tests it, and shows its classes by the names that the recipe gives them now.

    Raises:
        UserError: A recipe without an arm or with an unknown one, an arm that is not trained and may not be, or a model
            that cannot be opened.
    """
    from genrobust.classifiers import open_classifier
    from genrobust.study import recipe_and_name

    checkpoint = studies.checkpoint(model)
    if checkpoint is None:
        return open_classifier(model, labels)
    study = studies.open(recipe_and_name(model)[0])
    opened = open_classifier(str(checkpoint), labels, study.recipe.evaluate)
    return replace(opened, descriptions=study.data.labels.descriptions)
