"""What a worker of a cluster takes of its node: where and how fast work runs, and nothing of what is made."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from genrobust.recipe.section import Positive, Section


class ExecuteConfig(Section):
    """What each worker takes of its node with `--executor ray`; no result and no folder depends on it.

    `num_cpus` None are as many as `threads`, or all of a smaller node. `num_gpus` None is one where the device is cuda,
    and none elsewhere; 0.5 lets two workers share a GPU.
    """

    num_cpus: Positive | None = None
    num_gpus: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _shares_of_one_gpu(self) -> ExecuteConfig:
        if self.num_gpus is not None and self.num_gpus > 1 and self.num_gpus % 1:
            raise ValueError(f"num_gpus: {self.num_gpus:g} is more than one GPU, so it must be a whole number")
        return self
