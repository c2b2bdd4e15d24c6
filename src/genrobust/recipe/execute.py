"""The share of a cluster node that each worker takes; no result depends on it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from genrobust.recipe.section import Positive, Section


class ExecuteConfig(Section):
    """The share of its node that each worker takes with `--executor ray`; no result and no folder name depends on it.

    `num_cpus` None takes `threads` CPUs, or all of a smaller node. `num_gpus` None takes one GPU if the device is cuda,
    and none otherwise; 0.5 lets two workers share a GPU.
    """

    num_cpus: Positive | None = None
    num_gpus: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _check_num_gpus(self) -> ExecuteConfig:
        if self.num_gpus is not None and self.num_gpus > 1 and self.num_gpus % 1:
            raise ValueError(f"num_gpus: {self.num_gpus:g} is more than one GPU, so it must be a whole number")
        return self
