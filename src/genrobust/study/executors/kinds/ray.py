"""The workers of a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import model_validator

from genrobust.core import require_packages
from genrobust.recipe import CORES, EXECUTORS, Between, Recipe, Threads
from genrobust.study.executors.local import ExecutorConfig, Local


@EXECUTORS.register("ray")
class RayConfig(ExecutorConfig):
    """A Ray cluster, or a Ray that is started on this machine.

    `num_cpus` is for a worker; None takes `threads`, or all of a smaller node.

    `num_gpus` is for a worker; None takes one if the device is cuda, else none. 0.5 lets two share a GPU.
    """

    address: str | None = None  # host:port
    num_cpus: Threads | None = None
    num_gpus: Annotated[float, Between(0, 1024, CORES)] | None = None

    @model_validator(mode="after")
    def _check_num_gpus(self) -> RayConfig:
        if self.num_gpus is not None and self.num_gpus > 1 and self.num_gpus % 1:
            raise ValueError(f"num_gpus: {self.num_gpus:g} is more than one GPU, so it must be a whole number")
        return self

    def open(self, recipe: Recipe, out: Path) -> Local:
        require_packages(["ray"], "ray", "--executor ray")
        from genrobust.study.executors.ray import Ray

        return Ray(recipe, self.address, self.num_cpus, self.num_gpus)
