"""LP-FT: fine-tuning of all weights that starts from a linear probe."""

from __future__ import annotations

from genrobust.recipe import METHODS, TrainConfig


@METHODS.register("lp-ft")
class LpFt(TrainConfig):
    """Trains all weights, from the linear probe (Kumar et al., 2022)."""

    label = "LP-FT"
    probes = "first"
