"""Open a CLIP as a zero-shot classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.classifiers.opened_classifier import OpenClassifier, preparation
from genrobust.classifiers.sources.model_folders import clip_interpolation, hash_clip
from genrobust.core import UserError, digest
from genrobust.recipe import EvaluateConfig

if TYPE_CHECKING:
    # Import late: reading saved predictions must not load torch.
    import torch
    from torch import nn


def open_zero_shot(
    clip: Path, texts: Sequence[Sequence[str]], classes: Sequence[str], settings: EvaluateConfig, image_size: int
) -> OpenClassifier:
    """Open the CLIP in the folder `clip` as a zero-shot classifier (Radford et al., 2021) with texts for each class.

    Images are prepared by `settings`, at `image_size` pixels by default. The interpolation is the CLIP's own, as in an
    arm that starts from it.
    """
    size = settings.image_size or image_size

    def load(device: torch.device) -> nn.Module:
        from genrobust.classifiers.sources.clip_towers import open_tower

        tower = open_tower(clip, f"in {clip}", classes, texts)
        # Every tower can be trained.
        assert tower.blueprint is not None
        own = tower.blueprint.image_size
        if own != size:
            raise UserError(
                f"the CLIP in {clip} sees images of {own} px and the classifiers of {size} px, so their "
                "accuracies do not compare: name another under zero_shot.clip, or change evaluate.image_size"
            )
        return tower.load(device)

    weights = digest([hash_clip(clip), texts])
    prepared = preparation(settings, size, clip_interpolation(clip))
    return OpenClassifier(f"the CLIP in {clip}", tuple(classes), weights, load=load, **prepared)
