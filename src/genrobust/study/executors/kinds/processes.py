"""Worker processes of this machine."""

from __future__ import annotations

from genrobust.core import UserError
from genrobust.recipe import Recipe
from genrobust.study.executors.jobs import EXECUTORS
from genrobust.study.executors.processes import Processes


@EXECUTORS.register("processes")
def open_processes(recipe: Recipe, address: str | None, workers: int | None) -> Processes:
    """Return `workers` processes, or as many as this machine has room for.

    Raises:
        UserError: An `address` is given.
    """
    if address is not None:
        raise UserError(f"--address {address} is that of a Ray cluster: add --executor ray")
    return Processes(recipe, workers)
