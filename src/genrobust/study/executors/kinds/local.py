"""Processes of this machine."""

from __future__ import annotations

from pathlib import Path

from genrobust.recipe import EXECUTORS, Recipe, WorkerCount
from genrobust.study.executors.local import ExecutorConfig, Local


@EXECUTORS.register("local")
class LocalConfig(ExecutorConfig):
    """Processes of this machine, as many as its cores and memory have room for, or one for each GPU.

    `workers` sets another number, as does the environment variable GENROBUST_WORKERS.
    """

    workers: WorkerCount | None = None

    def open(self, recipe: Recipe, out: Path) -> Local:
        from genrobust.study.executors.processes import Processes

        return Processes(recipe, self.workers)
