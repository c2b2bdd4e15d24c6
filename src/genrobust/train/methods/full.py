"""Fine-tuning of all weights."""

from __future__ import annotations

from genrobust.recipe import METHODS, TrainConfig


@METHODS.register("full")
class Full(TrainConfig):
    """Trains all weights."""
