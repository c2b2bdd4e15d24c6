"""The registry of executors: where the jobs of a study run."""

from __future__ import annotations

from typing import Protocol

from genrobust.core import Registry
from genrobust.recipe import Recipe
from genrobust.study.executors.jobs import Executor


class ExecutorMaker(Protocol):
    """Makes the executor that ``--executor`` names."""

    def __call__(self, recipe: Recipe, address: str | None, workers: int | None) -> Executor:
        """Return the executor for the jobs of `recipe`; raises UserError for an option that it has no use for."""


EXECUTORS: Registry[ExecutorMaker] = Registry("executor", "genrobust.executors", "genrobust.study.executors.kinds")


def open_executor(name: str, recipe: Recipe, address: str | None = None, workers: int | None = None) -> Executor:
    """Return the executor called `name` for the jobs of `recipe`.

    Args:
        address: That of a cluster; None starts one here, where the executor needs one.
        workers: How many processes work at the same time; None for as many as this machine has room for.

    Raises:
        UserError: An unknown name, an option that does not fit it, or a cluster that does not answer.
        MissingPackage: Its package is not installed.
    """
    return EXECUTORS.get(name)(recipe, address, workers)
