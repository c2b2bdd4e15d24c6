"""Open checkpoints of genrobust, trained or not trained yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.classifiers.networks.checkpoint_info import read_checkpoint_info, weights_hash
from genrobust.classifiers.opened_classifier import SINGLE_CROP, Blueprint, OpenClassifier, preparation
from genrobust.recipe import EvaluateConfig
from genrobust.store import Artifact

if TYPE_CHECKING:
    # Import late: reading saved predictions must not load torch.
    import torch
    from torch import nn


def open_checkpoint(folder: Path, settings: EvaluateConfig = SINGLE_CROP) -> OpenClassifier:
    """Open the genrobust checkpoint in `folder`. `settings` say how images are prepared."""
    info = read_checkpoint_info(folder)
    size = settings.image_size or info.image_size

    def load(device: torch.device) -> nn.Module:
        from genrobust.classifiers.networks.architectures import require_size
        from genrobust.classifiers.networks.classifier_network import load_checkpoint

        require_size(info.architecture, info.image_size, size)
        return load_checkpoint(folder, device)[0]

    blueprint = Blueprint(info.architecture, info.model_kwargs, info.image_size, info.interpolation)
    return OpenClassifier(
        name=str(folder),
        classes=info.classes,
        weights_hash=weights_hash(folder),
        load=load,
        blueprint=blueprint,
        descriptions=info.descriptions,
        **preparation(settings, size, info.interpolation),
    )


def open_run(name: str, checkpoint: Path, classes: tuple[str, ...], blueprint: Blueprint) -> OpenClassifier:
    """Open a classifier of a study, which may not be trained yet. The name of its folder identifies its weights."""

    def load(device: torch.device) -> nn.Module:
        from genrobust.classifiers.networks.classifier_network import load_checkpoint

        Artifact(checkpoint).fetch()
        return load_checkpoint(checkpoint, device)[0]

    prepared = preparation(SINGLE_CROP, blueprint.image_size, blueprint.interpolation)
    return OpenClassifier(name, classes, checkpoint.name, load=load, blueprint=blueprint, **prepared)
