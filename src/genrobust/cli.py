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

    from genrobust.config import ArmConfig
    from genrobust.recipe import Recipe
    from genrobust.study import Study
    from genrobust.work import Step

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
DatasetName = Annotated[str, typer.Option("--dataset", metavar="NAME", help="One of the recipe's datasets.")]
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
    _print_work(study, _steps(study), _err)
    _write_report(study)


@command()
def show(recipe: RecipeName, sets: Sets = None, out: Out = RUNS, quick: Quick = False, device: Device = None) -> None:
    """Show a recipe's values, what is done and what would run."""
    import yaml

    study = _study(recipe, sets, out, quick, device)
    _out.print(escape(yaml.safe_dump(study.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)))
    _print_work(study, _steps(study), _out)


@command()
def plan(
    recipe: RecipeName,
    sets: Sets = None,
    dataset: DatasetName = "generated",
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, help="How many requests to print.")] = 20,
) -> None:
    """Print the first requests of the recipe's plan."""
    requests = _study(recipe, sets, RUNS, False, None).dataset(dataset).plan
    shown = min(count, len(requests))
    table = Table("key", "seed", "style", "prompt", title=f"{shown:,} of {len(requests):,} requests")
    for index in range(shown):
        request = requests[index]
        table.add_row(request.key, str(request.seed), escape(request.style), escape(request.prompt))
    _out.print(table)


@command()
def generate(
    recipe: RecipeName,
    sets: Sets = None,
    out: Out = RUNS,
    quick: Quick = False,
    device: Device = None,
    dataset: DatasetName = "generated",
) -> None:
    """Generate what is missing of the recipe's dataset."""
    made = _study(recipe, sets, out, quick, device).dataset(dataset)
    count = len(made.images)
    _out.print(f"{count:,} images in {escape(str(made.place))}")


@command()
def finetune(
    recipe: RecipeName, sets: Sets = None, out: Out = RUNS, quick: Quick = False, device: Device = None
) -> None:
    """Fine-tune the recipe's generator on its real training images."""
    from genrobust.finetuning import finetuned

    study = _study(recipe, sets, out, quick, device)
    _out.print(escape(str(finetuned(study.recipe, study.data, out, _say))))


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
    steps = _steps(study)
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
def er(
    clean: Annotated[str, typer.Option("--id", metavar="COLUMN", help="ID accuracy: COLUMN, or FILE:COLUMN.")],
    shift: Annotated[str, typer.Option("--shift", metavar="COLUMN", help="Shifted accuracy, likewise.")],
    table: Annotated[Path | None, typer.Argument(metavar="TABLE", help="A CSV file with a row a model.")] = None,
    key: Annotated[
        str, typer.Option("--key", metavar="A,B", help="Columns that name a model and join two files; else the first.")
    ] = "",
    baselines: Annotated[
        str | None,
        typer.Option("--baselines", metavar="FILE|REGEX", help="Models to fit the line on: a name a line, or a regex."),
    ] = None,
    exclude: Annotated[
        str | None, typer.Option("--exclude", metavar="FILE|REGEX", help="Models to leave out of the line.")
    ] = None,
    transform: Annotated[
        str, typer.Option("--transform", metavar="SCALE", help="logit, probit or linear: where the line is fitted.")
    ] = "logit",
    min_id: Annotated[
        float, typer.Option("--min-id", metavar="ACC", min=0, max=100, help="Leave models below ACC % out of the line.")
    ] = 0,
    pivot: Annotated[
        str | None,
        typer.Option("--pivot", metavar="MODEL", help="Two lines, as for ImageNet-A: it was filtered against MODEL."),
    ] = None,
    unit: Annotated[str | None, typer.Option("--unit", metavar="UNIT", help="percent or fraction.")] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="OUT", help="Write all figures here.")] = None,
) -> None:
    """Effective robustness from a published accuracy table."""
    from genrobust.er import describe, score, terminal_table, write_json
    from genrobust.published import read_published

    models = read_published(table, clean, shift, [k.strip() for k in key.split(",")] if key else (), unit)
    result = score(models, baselines, exclude, transform, min_id, pivot)
    if json is not None:
        write_json(result, json)
    for note in result.notes:
        _err.print(f"note: {escape(note)}")
    for warning in result.warnings:
        _err.print(f"[bold yellow]warning:[/] {escape(warning)}")
    for line in describe(result):
        _out.print(escape(line))
    _out.print(terminal_table(result))


ClipFolder = Annotated[Path | None, typer.Option("--clip", metavar="FOLDER", help="A CLIP, as transformers saves it.")]
ClassifierFolder = Annotated[
    Path | None, typer.Option("--classifier", metavar="FOLDER", help="A classifier trained on real images.")
]
Against = Annotated[
    str | None, typer.Option("--against", metavar="DIR|RECIPE", help="The real images; a recipe brings its test sets.")
]


@command()
def audit(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A generated dataset, image folders, or a recipe.")],
    against: Against = None,
    test: Annotated[
        list[str] | None, typer.Option("--test", metavar="NAME=DIR", help="A test set to search; may be repeated.")
    ] = None,
    wild: Annotated[
        str | None,
        typer.Option("--train-of-generator", metavar="DIR|RECIPE", help="What the generator was trained on."),
    ] = None,
    classifier: ClassifierFolder = None,
    clip: ClipFolder = None,
    allow_leaks: Annotated[
        list[str] | None,
        typer.Option("--allow-leaks", metavar="NAME", help="Do not fail for copies of this test set; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the page goes; default: beside the dataset.")
    ] = None,
    device: Device = None,
) -> None:
    """Show what a generated dataset is worth: copies, leaks, labels, diversity, fidelity."""
    from genrobust.audit_page import verdict
    from genrobust.auditing import audit as run_audit

    done = run_audit(
        dataset, against, test or [], wild, classifier, clip, allow_leaks or [], out, device or "auto", _say
    )
    for line in (*verdict(done.audit, tuple(done.leaks)), *done.audit.left_out):
        _out.print(escape(line))
    for path in done.files.values():
        _out.print(escape(str(path)))
    if done.leaks:
        where = ", ".join(f"{name} ({count:,})" for name, count in done.leaks.items())
        raise GenrobustError(
            f"leaks: the dataset holds copies of test images of {where}; look at {done.files['audit.html']}, and allow "
            "what is none with --allow-leaks NAME"
        )


@command("filter")
def filter_(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="The folder of a generated dataset.")],
    by: Annotated[str, typer.Option("--by", metavar="clip|classifier", help="Who judges image and label.")],
    clip: ClipFolder = None,
    classifier: ClassifierFolder = None,
    drop: Annotated[
        float | None, typer.Option("--drop", metavar="SHARE", help="Leave out the lowest SHARE of each class: 0.1.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", metavar="SCORE", help="Leave out what scores below SCORE.")
    ] = None,
    against: Against = None,
    device: Device = None,
) -> None:
    """List the images of a dataset that do not show their label; the shards stay as they are."""
    from genrobust.auditing import filter_dataset

    model = clip if by == "clip" else classifier
    if model is None:
        raise UserError(f"--by {by}: name its folder with --{'clip' if by == 'clip' else 'classifier'} FOLDER")
    done = filter_dataset(dataset, by, model, drop, threshold, against, device or "auto")
    _out.print(f"{done.kept:,} of {done.made:,} images kept, by {done.by}; what is left out, and why:")
    _out.print(escape(str(done.path)))


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
    from genrobust.recipe import load_recipe, recipe_names

    for name in recipe_names():
        _out.print(f"{name:<20} {escape(load_recipe(name).title)}")


def _study(recipe: str, sets: list[str] | None, out: Path, quick: bool, device: str | None) -> Study:
    from genrobust.recipe import load_recipe
    from genrobust.study import Study

    overrides = [*(sets or []), *([f"device={device}"] if device else [])]
    words = ["genrobust", "run", recipe, *(["--quick"] if quick else [])]
    for override in overrides:
        words += ["--set", override]
    loaded = load_recipe(recipe, overrides, quick)
    return Study(loaded, out, command=shlex.join(words), say=_say)


def _say(line: str) -> None:
    """Tell what begins."""
    _err.print(f"[bold]·[/bold] {escape(line)}")


def _steps(study: Study) -> list[Step]:
    from genrobust.work import steps

    return list(steps(study))


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
