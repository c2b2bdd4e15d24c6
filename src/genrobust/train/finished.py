"""Where a training stands, and the checkpoint that it ends in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from genrobust.classifiers import CheckpointInfo, Classifier, save_checkpoint
from genrobust.core import LabelSpace
from genrobust.recipe import TrainConfig
from genrobust.train.mixture import Mixture

Watch = Callable[[int, Mapping[str, float]], None]  # as `train` calls it


@dataclass
class Progress:
    """Where a run stands. `history` holds the step, loss and top-1 (percent) of each validation.

    `best_step` is the step whose weights are kept, `best_top1` their top-1, None where there are no validation images.
    """

    step: int = 0
    best_step: int = 0
    best_top1: float | None = -1.0
    history: list[dict[str, float]] = field(default_factory=list)


def save_trained(
    out: Path,
    model: Classifier,
    mixture: Mixture,
    labels: LabelSpace,
    config: TrainConfig,
    seed: int,
    run: str,
    progress: Progress,
    initial: Mapping[str, Tensor] | None = None,
    **more: float,
) -> None:
    """Save a trained classifier as a checkpoint in `out`.

    Args:
        run: A hash of all that decides its weights.
        initial: The pretrained weights that it started from, where they are to be kept.
        **more: What else is known of its training.
    """
    training = {
        "run": run,
        "seed": seed,
        "steps": config.steps_for(len(mixture)),
        "config": config.model_dump(),
        "counts": mixture.counts,
        "mixture": mixture.fingerprint,
        "best_step": progress.best_step,
        "best_val_top1": progress.best_top1,
        "history": progress.history,
        **more,
    }
    info = CheckpointInfo(
        config.architecture, config.network_kwargs, labels.ids, config.image_size, training, mixture.interpolation
    )
    save_checkpoint(out, model, info, initial)
