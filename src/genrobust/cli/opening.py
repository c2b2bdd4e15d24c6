"""Opens the studies and classifiers that the options of a command name, and prints their work."""

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

from genrobust.cli.options import OUT, Address, Device, ExecutorName, Out, Quick, RecipeName, Run, Runs, Sets, Workers
from genrobust.cli.program import err_console, say, words_of
from genrobust.core import UserError, about

# A command imports what it needs when it runs, so that --help answers at once.
if TYPE_CHECKING:
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
    """Open the study of a recipe. The parameters are options of commands."""
    from genrobust.store import local_folder, remote_of
    from genrobust.study import Studies, open_executor

    studies = Studies(out, say, with_executor(sets, executor), quick, device)
    folder = local_folder(out)
    opens = partial(open_executor, out=folder, workers=workers, address=address)
    study = studies.open(recipe, _run_command(recipe, sets, quick, device), opens)
    remote = remote_of(study.out)
    if remote is not None:
        say(f"{remote.url}: the copy on this machine is {study.out}")
    return study


def with_executor(sets: list[str] | None, executor: str | None) -> list[str]:
    """Return the overrides `sets` with the one that `--executor` stands for.

    Raises:
        UserError: One of `sets` names another executor.
    """
    overrides = list(sets or [])
    if executor is None:
        return overrides
    chosen = f"execute.executor={executor}"
    for override in overrides:
        if override.startswith("execute.executor=") and override != chosen:
            raise UserError(f"--executor {executor} and --set {override} name two executors: leave one out")
    return [*overrides, chosen]


def _run_command(recipe: str, sets: list[str] | None, quick: bool, device: str | None) -> str:
    """Return the command that runs the study, for its report."""
    overrides = [*(sets or []), f"device={device}"] if device else sets
    return shlex.join(["genrobust", "run", recipe, *option_words(quick, overrides)])


def option_words(quick: bool, sets: list[str] | None) -> list[str]:
    """Return the words of --quick and --set on a command line."""
    words = ["--quick"] if quick else []
    for override in sets or []:
        words += ["--set", override]
    return words


def open_studies(
    ctx: typer.Context,
    sets: Sets = None,
    quick: Quick = False,
    run: Run = False,
    runs: Runs = OUT,
    device: Device = None,
) -> "Studies":
    """Open the studies of the recipes that a command names. The parameters are options of commands.

    Missing jobs run with `run`, or after a yes on the terminal. Without `run`, the newest finished run of the recipe
    is used, if it made the missing artifacts.
    """
    from genrobust.study import Studies

    def allow(missing: "Sequence[Row]") -> None:
        err_console.print("not there yet:")
        print_work(missing, err_console)
        if not (sys.stdin.isatty() and _confirm("Run these jobs first?")):
            raise UserError(f"the jobs listed above are missing; to run them first:\n{words_of(ctx, '--run')}")

    return Studies(runs, say, sets or [], quick, device, None if run else allow)


def list_work(study: "Study", begins: bool = False) -> "list[Row]":
    """Return the work of the study.

    Args:
        begins: The work begins now, so the executor loads what workers need.
    """
    study.check()
    rows = study.rows()
    if begins and any(row.left for row in rows):
        study.context.executor.prepare()
    warn_of_images(study)
    return rows


def warn_of_images(study: "Study") -> None:
    """Print the notices about the images of the study, such as copies of test images."""
    for notice in study.notices():
        err_console.print(f"[bold yellow]warning:[/] {escape(notice)}")


def print_work(rows: "Sequence[Row]", to: "Console", title: str | None = None) -> None:
    """Print done and remaining work, with the time and the disk space that it takes."""
    from genrobust.study import disk, seconds_left

    context = rows[0].batch.context
    to.print(_work_table(rows, title))
    seconds, unknown = seconds_left(rows)
    if not seconds and not unknown:
        return
    parts = []
    if seconds:
        parts.append(about(seconds))
    if unknown:
        parts.append("steps that no run has timed here yet")
    workers = context.executor.workers()
    with_workers = f", with {workers} workers" if workers > 1 else ""
    need = disk(rows) / 1e9
    free = _free(context.out) / 1e9
    disk_space = f"about {need:.2f} GB of {free:.0f} GB free for {escape(str(context.out))}"
    to.print(f"left: {' and '.join(parts)}{with_workers}; {disk_space}")
    if need > free:
        to.print("[bold yellow]warning:[/] not enough disk space: free some, or choose another --runs")


def _work_table(rows: "Sequence[Row]", title: str | None) -> Table:
    table = Table(title=title and escape(title))
    for heading in ("stage", "what", "done", "left here"):
        # Fold a long name of an arm. By default the table cuts it.
        table.add_column(heading, overflow="fold")
    for row in rows:
        done = f"{row.done:,} of {row.total:,} {row.unit}"
        table.add_row(row.stage, escape(row.name), done, _time_left(row))
    return table


def _time_left(row: "Row") -> str:
    if not row.left:
        return "nothing"
    seconds = row.seconds()
    return "not timed yet" if seconds is None else about(seconds)


def _free(out: Path) -> int:
    """Return the free bytes on the disk of `out`, which may not exist yet."""
    places = (out.absolute(), *out.absolute().parents)
    return shutil.disk_usage(next(place for place in places if place.exists())).free


def _confirm(question: str) -> bool:
    """Ask the user, who may end the command with Ctrl-C or Ctrl-D."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None


def with_study(function: Function) -> Function:
    """Make a command of a function of a Study: the options of `open_study` replace its first parameter.

    A parameter that both have is one option.
    """
    return _with_options(open_study, function)


def with_studies(function: Function) -> Function:
    """Make a command of a function of Studies, with the options of `open_studies`. See `with_study`."""
    return _with_options(open_studies, function)


def _with_options(opener: Function, function: Function) -> Function:
    shared = list(inspect.signature(opener).parameters.values())
    own = list(inspect.signature(function).parameters.values())[1:]

    @wraps(function)
    def run(**given: Any) -> None:
        opened = opener(**{parameter.name: given[parameter.name] for parameter in shared})
        function(opened, **{parameter.name: given[parameter.name] for parameter in own})

    by_name = {parameter.name: parameter for parameter in [*own, *shared]}
    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in by_name.values()]
    # typer reads both.
    run.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
    return run


def open_named(studies: "Studies", model: str, labels: Path | None) -> "OpenClassifier":
    """Open the classifier that `model` names, with the class names in the file `labels`.

    An arm prepares images as its recipe tests it. Its classes have the names that the recipe gives them now.
    """
    from genrobust.classifiers import open_classifier
    from genrobust.study import recipe_and_name

    checkpoint = studies.checkpoint(model)
    if checkpoint is None:
        return open_classifier(model, labels)
    study = studies.open(recipe_and_name(model)[0])
    opened = open_classifier(str(checkpoint), labels, study.recipe.evaluate)
    return replace(opened, descriptions=study.data.labels.descriptions)
