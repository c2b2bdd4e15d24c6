"""Low-rank matrices are trained beside the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StrictInt

from genrobust.recipe import METHODS, TrainConfig

if TYPE_CHECKING:
    from torch import nn


@METHODS.register("lora")
class Lora(TrainConfig):
    """Trains low-rank matrices in every linear layer, and the last layer (Hu et al., 2022).

    A network without linear layers has them in every convolution.
    """

    label = "LoRA"

    lora_rank: Annotated[StrictInt, Field(ge=1, le=1024)] = 8

    def prepare(self, model: nn.Module) -> None:
        from genrobust.train.start import add_lora

        add_lora(model, self.lora_rank)
