"""The command line: one command a stage, plus run, show, init and doctor. It translates; the library does."""

from __future__ import annotations

import os
import shlex
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperCommand

from genrobust import __version__
from genrobust.errors import GenrobustError, UserError

if TYPE_CHECKING:  # what a command needs it imports itself, so that --help answers at once
    from collections.abc import Sequence

    from genrobust.config import ArmConfig, Recipe
    from genrobust.study import Step, Study

INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C ended

_out = Console(highlight=False, soft_wrap=True)  # a path or a YAML line stays whole in a file or a pipe
_err = Console(highlight=False, soft_wrap=True, stderr=True)


class _Command(TyperCommand):
    """A command whose failures become one message and an exit code: 2 the user's mistake, 1 a failure, 130 Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _err.print("\ninterrupted: what is finished is kept, and the same command goes on from there")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise  # the reader, such as head, has gone; typer ends quietly
        except Exception as error:
            if ctx.find_root().params["debug"]:
                traceback.print_exc()
            if isinstance(error, GenrobustError):
                _err.print(f"[bold red]error:[/] {escape(str(error))}")
                raise typer.Exit(error.exit_code) from None
            _err.print(f"[bold red]unexpected {type(error).__name__}:[/] {escape(str(error))}")
            _err.print("for the traceback, run it with --debug in front: genrobust --debug ...")
            raise typer.Exit(1) from None


app = typer.Typer(
    help="Make image classifiers robust with generated data, and measure by how much.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
command = partial(app.command, cls=_Command)

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="An installed recipe's name, or a .yaml file.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set train.steps=200.")
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where everything is written, and found again.")]
Quick = Annotated[bool, typer.Option("--quick", help="The recipe's short version, to see it work.")]
Device = Annotated[str | None, typer.Option("--device", metavar="NAME", help="cuda, mps, cpu or auto.")]
ArmName = Annotated[str | None, typer.Option("--arm", metavar="NAME", help="This arm alone.")]
RUNS = Path("runs")


def _print_version(wanted: bool) -> None:
    if wanted:
        _out.print(f"genrobust {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    del debug, version  # read by _Command and by _print_version


@command()
def run(recipe: RecipeName, sets: Sets = None, out: Out = RUNS, quick: Quick = False, device: Device = None) -> None:
    """Run a study: generate, train every arm, evaluate, report."""
    study = _study(recipe, sets, out, quick, device)
    _print_work(study, list(study.steps()), _err)
    _write_report(study)


@command()
def show(recipe: RecipeName, sets: Sets = None, out: Out = RUNS, quick: Quick = False, device: Device = None) -> None:
    """Show a recipe's values, what is done and what would run."""
    import yaml

    study = _study(recipe, sets, out, quick, device)
    _out.print(escape(yaml.safe_dump(study.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)))
    _print_work(study, list(study.steps()), _out)


@command()
def plan(
    recipe: RecipeName,
    sets: Sets = None,
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, help="How many requests to print.")] = 20,
) -> None:
    """Print the first requests of the recipe's plan."""
    requests = _study(recipe, sets, RUNS, False, None).plan
    shown = min(count, len(requests))
    table = Table("key", "seed", "style", "prompt", title=f"{shown:,} of {len(requests):,} requests")
    for index in range(shown):
        request = requests[index]
        table.add_row(request.key, str(request.seed), escape(request.style), escape(request.prompt))
    _out.print(table)


@command()
def generate(
    recipe: RecipeName, sets: Sets = None, out: Out = RUNS, quick: Quick = False, device: Device = None
) -> None:
    """Generate what is missing of the recipe's dataset."""
    study = _study(recipe, sets, out, quick, device)
    if study.recipe.generator is None and study.recipe.data.generated is None:
        raise UserError(f"{recipe} has no generator: name one under generator.model, or images under data.generated")
    count = len(study.generated)
    _out.print(f"{count:,} images in {escape(str(study.recipe.data.generated or study.generated_folder))}")


@command()
def train(
    recipe: RecipeName,
    sets: Sets = None,
    out: Out = RUNS,
    quick: Quick = False,
    device: Device = None,
    arm: ArmName = None,
) -> None:
    """Train the classifiers of the recipe's arms."""
    study = _study(recipe, sets, out, quick, device)
    for wanted in _arms(study.recipe, arm):
        for seed in study.recipe.seeds:
            _out.print(f"{escape(wanted.name)}, seed {seed}: {escape(str(study.checkpoint(wanted, seed)))}")


@command()
def evaluate(
    recipe: RecipeName,
    sets: Sets = None,
    out: Out = RUNS,
    quick: Quick = False,
    device: Device = None,
    arm: ArmName = None,
) -> None:
    """Score the classifiers on every test set; trains what is missing."""
    from genrobust.robustness.accuracy import top1

    study = _study(recipe, sets, out, quick, device)
    table = Table("arm", "seed", *map(escape, study.tests), title="top-1, %, over each set's own classes")
    for wanted in _arms(study.recipe, arm):
        for seed in study.recipe.seeds:
            found = study.predictions(study.checkpoint(wanted, seed))
            table.add_row(escape(wanted.name), str(seed), *(f"{top1(found[t]).value:.1f}" for t in study.tests))
    _out.print(table)


@command()
def report(recipe: RecipeName, sets: Sets = None, out: Out = RUNS, quick: Quick = False, device: Device = None) -> None:
    """Write the report again, from saved predictions."""
    study = _study(recipe, sets, out, quick, device)
    steps = list(study.steps())
    if any(step.left for step in steps):
        _err.print("a report needs all of the study, so what is missing is made first:")
        _print_work(study, steps, _err)
    _write_report(study)


@command()
def init(
    train: Annotated[Path, typer.Option("--train", metavar="DIR", help="Training images, one subfolder a class.")],
    test: Annotated[Path | None, typer.Option("--test", metavar="DIR", help="Unshifted test images.")] = None,
    val: Annotated[
        Path | None,
        typer.Option("--val", metavar="DIR", help="Validation images; without --test, they are the test set."),
    ] = None,
    shift: Annotated[
        list[str] | None, typer.Option("--shift", metavar="NAME=DIR", help="A shifted test set; may be repeated.")
    ] = None,
    generated: Annotated[
        Path | None, typer.Option("--generated", metavar="DIR", help="Generated images that you have.")
    ] = None,
    retrieved: Annotated[
        Path | None, typer.Option("--retrieved", metavar="DIR", help="Retrieved images that you have.")
    ] = None,
    recipe: Annotated[Path, typer.Option("--recipe", metavar="FILE", help="The recipe to write.")] = Path("study.yaml"),
    out: Out = RUNS,
    check: Annotated[bool, typer.Option(help="Decode every image, to find broken ones.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a recipe that is there.")] = False,
) -> None:
    """Write a commented recipe for your own image folders."""
    from genrobust.init import read_folders, write_recipe

    def say(line: str) -> None:
        _out.print(escape(line))

    folders = read_folders(train, test, val, shift or [], generated, retrieved, say)
    write_recipe(folders, recipe, out, say, check, overwrite)


@command()
def doctor(out: Out = RUNS) -> None:
    """Show versions, devices, disk and caches."""
    from genrobust.doctor import facts

    table = Table(show_header=False, box=None)
    for name, value in facts(out):
        table.add_row(escape(name), escape(value))
    _out.print(table)


@command()
def recipes() -> None:
    """List the installed recipes."""
    from genrobust.config import load_recipe, recipe_names

    for name in recipe_names():
        _out.print(f"{name:<20} {escape(load_recipe(name).title)}")


def _study(recipe: str, sets: list[str] | None, out: Path, quick: bool, device: str | None) -> Study:
    from genrobust.config import load_recipe
    from genrobust.study import Study

    overrides = [*(sets or []), *([f"device={device}"] if device else [])]
    words = ["genrobust", "run", recipe, *(["--quick"] if quick else [])]
    for override in overrides:
        words += ["--set", override]
    loaded = load_recipe(recipe, overrides, quick)
    return Study(loaded, out, command=shlex.join(words), say=lambda line: _err.print(f"[bold]·[/bold] {escape(line)}"))


def _arms(recipe: Recipe, name: str | None) -> list[ArmConfig]:
    chosen = [arm for arm in recipe.arms if name is None or arm.name == name]
    if not chosen:
        raise UserError(f"--arm {name}: no such arm; the arms are {', '.join(arm.name for arm in recipe.arms)}")
    return chosen


def _write_report(study: Study) -> None:
    from genrobust.report.terminal import final_table

    summary, files = study.run()
    _out.print()
    _out.print(final_table(summary))
    for path in files.values():
        _out.print(escape(str(path)))


def _print_work(study: Study, steps: Sequence[Step], to: Console) -> None:
    """What is done and what is left, with the time at the rates measured in this output folder, and the disk."""
    from genrobust.cost import about, disk, free
    from genrobust.rates import measured_rate

    table = Table("stage", "what", "done", "left here", title=escape(study.recipe.title or study.recipe.name))
    seconds, unknown = 0.0, False
    for step in steps:
        rate = measured_rate(study.out, step.stage, step.of)
        words = "nothing"
        if step.left and rate:
            seconds += step.left / rate
            words = about(step.left / rate)
        elif step.left:
            unknown, words = True, "not measured yet"
        table.add_row(step.stage, escape(step.what), f"{step.done:,} of {step.total:,} {step.unit}", words)
    to.print(table)
    if seconds or unknown:
        parts = ([about(seconds)] if seconds else []) + (["what is not measured yet"] if unknown else [])
        need, room = disk(study.recipe, steps) / 1e9, free(study.out) / 1e9
        to.print(f"left: {' and '.join(parts)}; about {need:.2f} GB of {room:.0f} GB free for {escape(str(study.out))}")


def main() -> None:
    """The program: runs the command and exits."""
    # Read when torch loads OpenMP. Threads that spin while they wait slow everything down tenfold as soon as another
    # program wants the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
