"""Where work runs: here, or on the workers of a Ray cluster. The stages do not know."""

from __future__ import annotations

from importlib.util import find_spec

from genrobust.errors import MissingPackage, UserError
from genrobust.execute.local import Local
from genrobust.execute.pieces import Executor
from genrobust.recipe import Recipe

EXECUTORS = ("local", "ray")


def open_executor(name: str, recipe: Recipe, address: str | None = None) -> Executor:
    """The executor called `name` for the work of `recipe`; `address` is that of a Ray cluster, None starts one here.

    Raises UserError for an unknown name, an address without Ray, and a cluster that does not answer; MissingPackage
    where Ray is not installed.
    """
    if name not in EXECUTORS:
        raise UserError(f"no executor {name!r}; there are {', '.join(EXECUTORS)}")
    if name == "local":
        if address is not None:
            raise UserError(f"--address {address} is that of a Ray cluster: give --executor ray too")
        return Local()
    if find_spec("ray") is None:
        raise MissingPackage("ray", "ray", "--executor ray")
    from genrobust.execute.ray import Ray

    return Ray(recipe, address)
