"""Work in this process, which other executors extend, and the choice of an executor."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from genrobust.classifiers import choose_precisions
from genrobust.core import UserError, counting, device_kind, hardware, progress_bar, resolve_device
from genrobust.recipe import ExecuteConfig, Recipe, checked
from genrobust.study.executors.jobs import Work


class Local:
    """This process. Loading and writing in the background continue from one job to the next.

    Other executors extend it. `here` says that all work is done on this machine.
    """

    here = True

    def placed(self, recipe: Recipe, say: Callable[[str], None] = lambda line: None) -> Recipe:
        """Return `recipe` with the precisions of the device that its work will find, in place of `auto`.

        Where that is another machine's, the recipe returned names the device, too.
        `say` gets the lines of `choose_precisions`.

        Raises:
            UserError: There is no such device.
        """
        if recipe.device not in ("auto", "cpu"):
            resolve_device(recipe.device)
        kind = device_kind(recipe.device)
        return choose_precisions(recipe, lambda: hardware(kind), say)

    def workers(self) -> int:
        """Return how many jobs are done at the same time."""
        return 1

    def together(self) -> int:
        """Return how many processes can do one job together."""
        return 1

    def require(self, workers: int) -> None:
        """Raise UserError where a job can never be done by so many `workers` together."""
        if workers > (most := self.together()):
            raise UserError(
                f"train.workers: {workers} processes of one machine train one classifier together, each with a GPU or "
                f"its threads, and there is room for {most} here: lower train.workers, or set device to cuda or cpu or "
                f"--workers {workers} (on Ray, execute.num_cpus and num_gpus) if the machine can do more"
            )

    def prepare(self) -> None:
        """Begin to load what workers need, where there will be any: there are jobs to do soon."""

    def run(self, work: Work) -> None:
        """Do the jobs in their order; the first that fails ends the work.

        Raises:
            Exception: Whatever the first job that fails raises.
        """
        if not work.jobs:
            return
        bar = progress_bar(work.what, work.size, work.unit)
        with bar as shown, counting(work.unit, shown.advance):
            do = work.load()
            for _, jobs in groupby(work.jobs, key=lambda job: job.row):  # what is listed together is timed together
                share, began = list(jobs), time.monotonic()
                do([job.key for job in share])
                work.ended(share, time.monotonic() - began)


class ExecutorConfig(ExecuteConfig, ABC):
    """A kind of executor, which ``execute.executor`` names: the section `execute` with the keys of the kind."""

    @abstractmethod
    def open(self, recipe: Recipe, out: Path) -> Local:
        """Return an executor for the jobs of `recipe`, whose results go to `out`.

        Raises:
            UserError: It cannot run here, its package is not installed, or nobody answers.
        """


def open_executor(recipe: Recipe, out: Path, kind: str | None = None, **given: object) -> Local:
    """Return the executor of `recipe`, or of another `kind`, with the keys `given`, None for those that are not.

    Raises:
        UserError: The kind is unknown or has no such key; or as for `ExecutorConfig.open`.
    """
    own = kind in (None, recipe.execute.executor)
    values: dict[str, object] = recipe.execute.model_dump() if own else {"executor": kind}
    options = {key: value for key, value in given.items() if value is not None}
    asked = " ".join(f"--{key}" for key in (*options, *([] if own else ["executor"])))
    try:
        config = checked(ExecuteConfig, values | options, asked or "execute")
    except ValueError as error:
        raise UserError(str(error)) from None
    assert isinstance(config, ExecutorConfig), (
        f"{type(config)} is registered as an executor and extends no ExecutorConfig"
    )
    return config.open(recipe, out)
