"""A CLIP as a classifier that has seen none of a study's training: how like an image is to the texts of each class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.classifiers.opened import OpenClassifier
from genrobust.classifiers.preprocess import prepare, protocol
from genrobust.core import UserError, digest, hash_folder
from genrobust.recipe import EvaluateConfig

if TYPE_CHECKING:
    import torch
    from torch import nn


def open_zero_shot(
    clip: Path, texts: Sequence[Sequence[str]], classes: Sequence[str], settings: EvaluateConfig, image_size: int
) -> OpenClassifier:
    """Open the CLIP in the folder `clip` as the zero-shot classifier of Radford et al. 2021.

    Args:
        texts: One or more for each of `classes`, whose ids these are.
        settings: How images are prepared, as for the study's classifiers.
        image_size: The size at which those train, in pixels.

    Raises:
        UserError: When it is loaded: the CLIP takes images of another size than the classifiers are evaluated at.
    """
    size = settings.image_size or image_size

    def load(device: torch.device) -> nn.Module:
        from genrobust.classifiers.clip import ZeroShot, load_clip

        model = load_clip(clip, device)
        if model.image_size != size:
            raise UserError(
                f"the CLIP in {clip} sees images of {model.image_size} px and the classifiers of {size} px, so their "
                "accuracies do not compare: name another under zero_shot.clip, or change evaluate.image_size"
            )
        return ZeroShot(model, texts)

    return OpenClassifier(
        name=f"the CLIP in {clip}",
        classes=tuple(classes),
        weights=digest([hash_folder(clip), texts]),
        prepare=partial(prepare, size=size, crop_pct=settings.crop_pct),
        prepared=protocol(size, settings.crop_pct, settings.flip),
        load=load,
        flip=settings.flip,
    )
