"""The last layer alone is trained, on features that are computed once."""

from __future__ import annotations

from genrobust.recipe import METHODS, TrainConfig


@METHODS.register("linear-probe")
class LinearProbe(TrainConfig):
    """Trains the last layer alone, by logistic regression.

    The images are embedded once, without augmentation, and the regression is solved exactly, with the L2 penalty that
    validates best.
    """

    label = "linear probe"
    probes = "only"
    without = frozenset(
        (
            *("steps", "epochs", "warmup_steps", "warmup_epochs", "optimizer", "learning_rate", "schedule", "momentum"),
            *("weight_decay", "no_decay", "layer_decay", "label_smoothing", "ema_decay", "wise_ft"),
            *("augmentation", "augmentation_share", "mixup", "cutmix", "random_erasing", "color_jitter", "grayscale"),
            *("start_size", "compile", "validate_every"),
        )
    )
