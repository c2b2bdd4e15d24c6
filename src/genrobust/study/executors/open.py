"""Where work runs: in worker processes here, or on the workers of a Ray cluster. The stages do not know."""

from __future__ import annotations

from importlib.util import find_spec

from genrobust.core import MissingPackage, UserError
from genrobust.recipe import Recipe
from genrobust.study.executors.processes import Processes
from genrobust.study.jobs import Executor

EXECUTORS = ("processes", "ray")


def open_executor(name: str, recipe: Recipe, address: str | None = None, workers: int | None = None) -> Executor:
    """The executor called `name` for the work of `recipe`.

    `address` is that of a Ray cluster; None starts one here. `workers` is how many processes work at the same time;
    None takes as many as this machine has room for.

    Raises:
        UserError: An unknown name, an address without Ray, workers with Ray, a cluster that does not answer.
        MissingPackage: Ray is not installed.
    """
    if name not in EXECUTORS:
        raise UserError(f"no executor {name!r}; there are {', '.join(EXECUTORS)}")
    if name == "processes":
        if address is not None:
            raise UserError(f"--address {address} is that of a Ray cluster: give --executor ray too")
        return Processes(recipe, workers)
    if workers is not None:
        raise UserError(f"--workers {workers} is of processes here; on Ray, execute.num_cpus sets how many fit a node")
    if find_spec("ray") is None:
        raise MissingPackage("ray", "ray", "--executor ray")
    from genrobust.study.executors.ray import Ray

    return Ray(recipe, address)
