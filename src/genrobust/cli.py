"""The command line: one command a stage, plus run, show, init and doctor. It translates; the library does."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genrobust import __version__
from genrobust.config import Recipe, load_recipe, recipe_names
from genrobust.errors import GenrobustError

if TYPE_CHECKING:
    from genrobust.study import Study

app = typer.Typer(
    help="Make image classifiers robust with generated data, and measure by how much.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_err = Console(stderr=True, highlight=False)
_out = Console(highlight=False)

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="An installed recipe's name, or a .yaml file.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe.")]
Out = Annotated[Path, typer.Option("--out", help="Where everything is written, and found again.")]
Quick = Annotated[bool, typer.Option("--quick", help="The recipe's short version, to see it work.")]
Device = Annotated[str | None, typer.Option("--device", help="cuda, mps, cpu or auto.")]
ArmName = Annotated[str | None, typer.Option("--arm", help="This arm alone.")]

RUNS = Path("runs")


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    del debug  # read in main(), before anything can fail
    if version:
        _out.print(f"genrobust {__version__}")
        raise typer.Exit


@app.command()
def run(
    recipe: RecipeName,
    sets: Sets = None,
    out: Out = RUNS,
    quick: Quick = False,
    device: Device = None,
) -> None:
    """Run a whole study: generate, train every arm, evaluate, and write the report."""
    study = _study(recipe, sets, out, quick, device)
    _print_cost(study)
    summary, files = study.run()
    from genrobust.report.terminal import final_table

    _out.print()
    _out.print(final_table(summary))
    for kind, path in files.items():
        _out.print(f"[dim]{kind:<9}[/dim] {escape(str(path))}")


@app.command()
def show(recipe: RecipeName, sets: Sets = None, out: Out = RUNS, quick: Quick = False, device: Device = None) -> None:
    """Show a recipe with all its values, what of it is done already, and what would run."""
    import yaml

    study = _study(recipe, sets, out, quick, device)
    _out.print(escape(yaml.safe_dump(study.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)))
    _print_cost(study, to=_out)


@app.command()
def plan(
    recipe: RecipeName,
    sets: Sets = None,
    count: Annotated[int, typer.Option("--count", min=1, help="How many requests to print.")] = 20,
) -> None:
    """Print the first requests of a recipe's plan: key, seed and prompt."""
    study = _study(recipe, sets, RUNS, False, None)
    table = Table("key", "seed", "style", "prompt", title=f"{min(count, len(study.plan))} of {len(study.plan):,} requests")
    for index in range(min(count, len(study.plan))):
        request = study.plan[index]
        table.add_row(request.key, str(request.seed), escape(request.style), escape(request.prompt))
    _out.print(table)


@app.command()
def generate(
    recipe: RecipeName, sets: Sets = None, out: Out = RUNS, quick: Quick = False, device: Device = None
) -> None:
    """Generate the recipe's dataset, or the part of it that is missing."""
    study = _study(recipe, sets, out, quick, device)
    dataset = study.generated
    _out.print(f"{len(dataset):,} images in {escape(str(study.recipe.data.generated or study.generated_folder))}")


@app.command()
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


@app.command()
def evaluate(
    recipe: RecipeName,
    sets: Sets = None,
    out: Out = RUNS,
    quick: Quick = False,
    device: Device = None,
    arm: ArmName = None,
) -> None:
    """Score the recipe's classifiers on every test set; trains what is not there."""
    from genrobust.robustness.accuracy import top1

    study = _study(recipe, sets, out, quick, device)
    table = Table("arm", "seed", *study.tests, title="top-1, %, over each set's own classes")
    for wanted in _arms(study.recipe, arm):
        for seed in study.recipe.seeds:
            found = study.predictions(study.checkpoint(wanted, seed))
            table.add_row(escape(wanted.name), str(seed), *(f"{top1(found[t]).value:.1f}" for t in study.tests))
    _out.print(table)


@app.command()
def report(
    recipe: RecipeName, sets: Sets = None, out: Out = RUNS, quick: Quick = False, device: Device = None
) -> None:
    """Write the report again; like run, it makes what is missing."""
    run(recipe, sets, out, quick, device)


@app.command()
def init(
    train: Annotated[Path, typer.Option("--train", help="Training images: one subfolder a class.")],
    test: Annotated[Path, typer.Option("--test", help="Unshifted test images, in the same layout.")],
    shift: Annotated[
        list[str] | None, typer.Option("--shift", metavar="NAME=DIR", help="A shifted test set; may be repeated.")
    ] = None,
    val: Annotated[Path | None, typer.Option("--val", help="Validation images; else a tenth of train.")] = None,
    generated: Annotated[Path | None, typer.Option("--generated", help="Generated images that you have.")] = None,
    retrieved: Annotated[Path | None, typer.Option("--retrieved", help="Retrieved images that you have.")] = None,
    recipe: Annotated[Path, typer.Option("--recipe", help="The recipe to write.")] = Path("study.yaml"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a recipe that is there.")] = False,
) -> None:
    """Look at your own image folders and write a commented recipe for them, ready to run."""
    from genrobust.init import write_recipe

    for line in write_recipe(train, test, shift or [], val, generated, retrieved, recipe, overwrite):
        _out.print(escape(line))


@app.command()
def doctor(out: Out = RUNS) -> None:
    """Show versions, devices, disk and caches: what a bug report needs, and what a study can use here."""
    from genrobust.doctor import facts

    table = Table(show_header=False, box=None)
    for name, value in facts(out):
        table.add_row(escape(name), escape(value))
    _out.print(table)


@app.command()
def recipes() -> None:
    """List the installed recipes."""
    for name in recipe_names():
        _out.print(f"{name:<20} {escape(load_recipe(name).title)}")


def _study(recipe: str, sets: list[str] | None, out: Path, quick: bool, device: str | None) -> Study:
    from genrobust.study import Study

    overrides = list(sets or []) + ([f"device={device}"] if device else [])
    words = ["genrobust", "run", recipe, *(["--quick"] if quick else []), *(f"--set {o}" for o in overrides)]
    loaded = load_recipe(recipe, overrides, quick)
    return Study(loaded, out, command=" ".join(words), say=lambda line: _err.print(f"[bold]·[/bold] {escape(line)}"))


def _arms(recipe: Recipe, name: str | None) -> list:  # type: ignore[type-arg]
    from genrobust.errors import UserError

    chosen = [a for a in recipe.arms if name is None or a.name == name]
    if not chosen:
        raise UserError(f"--arm {name}: no such arm; the arms are {', '.join(a.name for a in recipe.arms)}")
    return chosen


def _print_cost(study: Study, to: Console = _err) -> None:
    from genrobust.study import measured_rates

    rates = measured_rates(study.out)
    table = Table("stage", "what", "done", "left here", title=f"{escape(study.recipe.title or study.recipe.name)}")
    for step in study.steps():
        items = step.total - step.done
        if step.unit == "steps":
            items *= study.recipe.train.batch_size
        rate = rates.get(step.stage, {}).get("per_second")
        left = "nothing" if not items else _minutes(items / float(rate)) if rate and step.unit != "models" else "not measured yet"
        table.add_row(step.stage, escape(step.what), f"{step.done:,} of {step.total:,} {step.unit}", left)
    to.print(table)


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def main() -> NoReturn:
    """Run a command: exit code 2 for the user's mistakes, 1 for failures, 130 when interrupted."""
    debug = "--debug" in sys.argv
    try:
        app(standalone_mode=True)
    except GenrobustError as error:
        if debug:
            raise
        _err.print(f"[bold red]error:[/bold red] {escape(str(error))}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _err.print("interrupted: what is finished is kept, and the same command goes on from there")
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        _err.print(f"[bold red]unexpected {type(error).__name__}:[/bold red] {escape(str(error))}")
        _err.print("run the same command with --debug in front (genrobust --debug ...) for the traceback")
        sys.exit(1)
    sys.exit(0)
