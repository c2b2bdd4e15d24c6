"""What every command shares: the program, its options, its two consoles, and how failures are told."""

from __future__ import annotations

import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperCommand

from genrobust import __version__
from genrobust.core import GenrobustError, UserError

if TYPE_CHECKING:
    from genrobust.classifiers import OpenClassifier

INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C ended

out_console = Console(highlight=False, soft_wrap=True)  # a path or a YAML line stays whole in a file or a pipe
err_console = Console(highlight=False, soft_wrap=True, stderr=True)


class _Command(TyperCommand):
    """A command whose failures become one message and an exit code: 2 the user's mistake, 1 a failure, 130 Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err_console.print("\ninterrupted: what is finished is kept, and the same command goes on from there")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise  # the reader, such as head, has gone; typer ends quietly
        except Exception as error:
            if ctx.find_root().params["debug"]:
                traceback.print_exc()
            if isinstance(error, GenrobustError):
                err_console.print(f"[bold red]error:[/] {escape(str(error))}")
                raise typer.Exit(error.exit_code) from None
            err_console.print(f"[bold red]unexpected {type(error).__name__}:[/] {escape(str(error))}")
            err_console.print("for the traceback, run it with --debug in front: genrobust --debug ...")
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
Out = Annotated[
    str,
    typer.Option(
        "--out", metavar="DIR|URL", help="Where everything is written, and found again: a folder, or s3://bucket/runs."
    ),
]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where everything is written, and found again.")]
Quick = Annotated[bool, typer.Option("--quick", help="The recipe's short version, to see it work.")]
Device = Annotated[str | None, typer.Option("--device", metavar="NAME", help="cuda, mps, cpu or auto.")]
DatasetName = Annotated[str, typer.Option("--dataset", metavar="NAME", help="One of the recipe's datasets.")]
ArmName = Annotated[str | None, typer.Option("--arm", metavar="NAME", help="This arm alone.")]
MODELS = typer.Option(
    "--models",
    metavar="[NAME=]MODEL",
    help="A recipe, RECIPE:ARM, a checkpoint, a folder of them, a timm name or folder, hf-hub:NAME, ARCHITECTURE@FILE, "
    "an .onnx file; may be repeated.",
)
ModelLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--labels", metavar="[NAME=]FILE", help="Classes of the models that name none, one a line; may be repeated."
    ),
]
ClassifierLabels = Annotated[
    Path | None,
    typer.Option("--labels", metavar="FILE", help="The classifier's classes, one a line, where it names none."),
]
Runs = Annotated[
    Path, typer.Option("--runs", metavar="DIR", help="Where recipes' datasets and checkpoints lie, or will.")
]
ExecutorName = Annotated[str, typer.Option("--executor", metavar="NAME", help="Where work runs: processes or ray.")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="Processes that work at the same time; default: as cores and memory allow, one a GPU.",
    ),
]
Estimate = Annotated[
    bool,
    typer.Option(
        "--estimate/--no-estimate",
        envvar="GENROBUST_ESTIMATE",
        help="Measure this machine for some seconds, once an output folder, to say how long the work takes.",
    ),
]
Address = Annotated[
    str | None, typer.Option("--address", metavar="HOST:PORT", help="A Ray cluster; default: a Ray on this machine.")
]
RUNS = Path("runs")
OUT = str(RUNS)


def _print_version(wanted: bool) -> None:
    if wanted:
        out_console.print(f"genrobust {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    del debug, version  # read by _Command and by _print_version


def classifier_place(model: str, runs: Path, quick: bool = False, device: str | None = None) -> str:
    """The checkpoint of ``RECIPE:ARM`` below `runs`, trained now where it is not there yet; any other `model` as it is.

    Raises UserError as `named_models.trained` does, and for a short version of what is no recipe's.
    """
    from genrobust.recipe import load_recipe
    from genrobust.study import Processes, Study, trained

    def study_of(name: str) -> Study:
        recipe = load_recipe(name, [f"device={device}"] if device else [], quick)
        return Study(recipe, runs, say=say, executor=Processes(recipe))

    checkpoint = trained(model, study_of)
    if quick and checkpoint is None:
        raise UserError(f"--quick: {model} is no recipe's: write RECIPE:ARM, or leave --quick out")
    return str(checkpoint or model)


def classifier_called(
    model: str, labels: Path | None, runs: Path, quick: bool = False, device: str | None = None
) -> OpenClassifier:
    """What `model` names, opened with the class names in `labels`; raises UserError as `classifier_place` does."""
    from genrobust.classifiers import open_classifier

    return open_classifier(classifier_place(model, runs, quick, device), labels)


def say(line: str) -> None:
    """Tell what begins."""
    err_console.print(f"[bold]·[/bold] {escape(line)}")
