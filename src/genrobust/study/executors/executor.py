"""The executor that works in this process, which other executors extend, and the choice of an executor."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from genrobust.classifiers import choose_precisions
from genrobust.core import UserError, counting, device_kind, hardware, progress_bar, resolve_device
from genrobust.recipe import ExecuteConfig, Recipe, checked
from genrobust.study.executors.work import Work


class Executor:
    """Makes items in this process. Other executors extend it.

    Attributes:
        here: Whether all work is done on this machine.
    """

    here = True

    def placed(self, recipe: Recipe, say: Callable[[str], None] = lambda line: None) -> Recipe:
        """Return `recipe` with the precisions of the device that its work will find, instead of `auto`.

        If the device is another machine's, the recipe names it, too. `say` gets the lines of `choose_precisions`.

        Raises:
            UserError: There is no such device.
        """
        if recipe.device not in ("auto", "cpu"):
            resolve_device(recipe.device)
        kind = device_kind(recipe.device)
        return choose_precisions(recipe, lambda: hardware(kind), say)

    def workers(self) -> int:
        """Return how many items are made at the same time."""
        return 1

    def prepare(self) -> None:
        """Start to load what workers need, if there will be workers. Called when work follows soon."""

    def run(self, work: Work) -> None:
        """Make the items in their order. The first failure ends the work.

        Raises:
            Exception: The error of the first item that fails.
        """
        if not work.items:
            return
        bar = progress_bar(work.title, work.size, work.unit)
        with bar as shown, counting(work.unit, shown.advance):
            make = work.load()
            # Items of one row are timed together.
            for _, of_row in groupby(work.items, key=lambda item: item.row):
                items = list(of_row)
                began = time.monotonic()
                make([item.key for item in items])
                work.ended(items, time.monotonic() - began)


class ExecutorConfig(ExecuteConfig, ABC):
    """A kind of executor, chosen by ``execute.executor``: the section `execute` with the keys of the kind."""

    @abstractmethod
    def open(self, recipe: Recipe, out: Path) -> Executor:
        """Return an executor for the work of `recipe`, whose results go to `out`.

        Raises:
            UserError: It cannot run here, its package is not installed, or nobody answers.
        """


def open_executor(recipe: Recipe, out: Path, kind: str | None = None, **given: object) -> Executor:
    """Open the executor of `recipe`, or another `kind`. Keys in `given` that are not None replace the recipe's."""
    is_own = kind in (None, recipe.execute.executor)
    values: dict[str, object] = recipe.execute.model_dump() if is_own else {"executor": kind}
    options = {key: value for key, value in given.items() if value is not None}
    names = list(options)
    if not is_own:
        names.append("executor")
    asked = " ".join(f"--{name}" for name in names)
    try:
        config = checked(ExecuteConfig, values | options, asked or "execute")
    except ValueError as error:
        raise UserError(str(error)) from None
    assert isinstance(config, ExecutorConfig), (
        f"{type(config)} is registered as an executor and extends no ExecutorConfig"
    )
    return config.open(recipe, out)
