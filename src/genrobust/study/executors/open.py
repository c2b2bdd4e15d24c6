"""The registry of executors: where the jobs of a study run.

Each is a callable of a recipe, the address of a cluster (None: one is started here, where it needs one) and the number
of processes that work at the same time (None: as many as this machine has room for). It returns an executor for the
jobs of the recipe. It raises UserError for an option that it has no use for or a cluster that does not answer, and
MissingPackage where its package is not installed.
"""

from __future__ import annotations

from collections.abc import Callable

from genrobust.core import Registry
from genrobust.recipe import Recipe
from genrobust.study.executors.jobs import Executor

EXECUTORS: Registry[Callable[[Recipe, str | None, int | None], Executor]] = Registry(
    "executor", "genrobust.executors", "genrobust.study.executors.kinds"
)
