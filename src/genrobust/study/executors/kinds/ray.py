"""The workers of a Ray cluster."""

from __future__ import annotations

from importlib.util import find_spec

from genrobust.core import MissingPackage, UserError
from genrobust.recipe import Recipe
from genrobust.study.executors.jobs import EXECUTORS, Executor


@EXECUTORS.register("ray")
def open_ray(recipe: Recipe, address: str | None, workers: int | None) -> Executor:
    """Return the cluster at `address`, or one that is started here.

    Raises:
        UserError: `workers` is given, or no cluster answers.
        MissingPackage: Ray is not installed.
    """
    if workers is not None:
        raise UserError(f"--workers {workers} is for processes here; on Ray, execute.num_cpus sets how many fit a node")
    if find_spec("ray") is None:
        raise MissingPackage("ray", "ray", "--executor ray")
    from genrobust.study.executors.ray import Ray

    return Ray(recipe, address)
