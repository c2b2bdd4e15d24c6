"""Opens the study or the classifier that a command's options name."""

import inspect
import shlex
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrobust.cli.app import command, say
from genrobust.cli.options import OUT, Address, Device, ExecutorName, Out, Quick, RecipeName, Sets, Workers
from genrobust.core import UserError

if TYPE_CHECKING:  # a command imports what it needs when it runs, so that --help answers at once
    from genrobust.classifiers import OpenClassifier
    from genrobust.study import Study

HERE = ("recipe", "sets", "out", "quick", "device")
ANYWHERE = (*HERE, "executor", "workers", "address")


def open_study(
    recipe: RecipeName,
    sets: Sets = None,
    out: Out = OUT,
    quick: Quick = False,
    device: Device = None,
    executor: ExecutorName = "processes",
    workers: Workers = None,
    address: Address = None,
) -> "Study":
    """The study of a recipe, which logs its progress to the terminal; the parameters are options of commands."""
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
        say(f"{remote.url}: the copy on this machine is {study.out}")
    return study


def study_command(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function of a Study as a command that takes the options `names` of `open_study` in its place.

    The other parameters of the function are the command's own options. If the disk is full, the error says how much
    space the study still needs.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def run(**given: Any) -> None:
            from genrobust.study import explain_disk_full

            study = open_study(**{name: given.pop(name) for name in names})
            with explain_disk_full(study):
                function(study, **given)

        shared = [inspect.signature(open_study).parameters[name] for name in names]
        own = list(inspect.signature(function).parameters.values())[1:]
        parameters = [*shared[: len(HERE)], *own, *shared[len(HERE) :]]
        keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        run.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]  # typer reads both
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command()(run)

    return decorate


def checkpoint_of(model: str, runs: Path, quick: bool = False, device: str | None = None) -> str:
    """The checkpoint of ``RECIPE:ARM`` in `runs`, trained first if it does not exist; any other `model` as it is.

    Raises:
        UserError: A recipe without an arm or with an unknown one, or `quick` for a `model` that is not of a recipe.
    """
    from genrobust.study import studies_in, trained

    checkpoint = trained(model, studies_in(runs, say, device, quick))
    if quick and checkpoint is None:
        raise UserError(f"--quick: {model} is not part of a recipe: write RECIPE:ARM, or leave --quick out")
    return str(checkpoint or model)


def open_named(
    model: str, labels: Path | None, runs: Path, quick: bool = False, device: str | None = None
) -> "OpenClassifier":
    """Open the classifier that `model` names, with the class names in the file `labels`; trains it first if needed.

    Raises:
        UserError: A recipe without an arm or with an unknown one, `quick` for a `model` that is not of a recipe, or a
            model that cannot be opened.
    """
    from genrobust.classifiers import open_classifier

    return open_classifier(checkpoint_of(model, runs, quick, device), labels)
