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
    """The workers of the Ray cluster at `address`, or of a Ray that is started on this machine, and what each takes.

    `num_cpus` None takes `threads` CPUs, or all of a smaller node. `num_gpus` None takes one GPU if the device is cuda,
    and none otherwise; 0.5 lets two workers share a GPU.
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
