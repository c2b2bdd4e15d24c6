"""Linear probing: only the last layer is trained, on features that are computed once."""

from __future__ import annotations

from genrobust.recipe import METHODS, TrainConfig

# All other keys of `train` belong to the training loop, and a probe refuses them.
USED = {"architecture", "model_kwargs", "blur_pool", "init", "method", "image_size", "batch_size"}


@METHODS.register("linear-probe")
class LinearProbe(TrainConfig):
    """Trains the last layer alone, by logistic regression.

    The images are embedded once, in float32 without augmentation, and the regression is solved exactly, with the L2
    penalty that validates best. Each image counts as much as `weight` and `balance` draw it.
    """

    label = "linear probe"
    probes = "only"
    without = frozenset(TrainConfig.model_fields) - USED
