"""A CLIP that has seen none of a study's training: its zero-shot predictions on the study's test sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from genrobust.clip import embed_ensembles, embed_images, load_clip
from genrobust.data import ImageSet, LabelSpace, Predictions, digest
from genrobust.devices import set_threads
from genrobust.errors import UserError
from genrobust.evaluate.predict import kept_predictions
from genrobust.hashing import hash_folder


def predict_zero_shot(
    clip: Path,
    texts: Sequence[Sequence[str]],
    image_size: int,
    sets: dict[str, ImageSet],
    labels: LabelSpace,
    out: Path,
    batch_size: int = 256,
    device: str = "auto",
    threads: int = 2,
) -> dict[str, Predictions]:
    """Predictions of the CLIP in the folder `clip` on every set: how like an image is to the `texts` of each class.

    The zero-shot classifier of Radford et al. 2021. Kept in `out` as `predict` keeps a checkpoint's. Images are
    prepared as the study's classifiers see them, at `image_size` px: raises UserError for a CLIP of another size.
    """
    set_threads(threads)

    def load(where: torch.device) -> Callable[[ImageSet, Callable[[int], None]], np.ndarray]:
        model = load_clip(clip, where)
        if model.image_size != image_size:
            raise UserError(
                f"the CLIP in {clip} sees images of {model.image_size} px and the classifiers of {image_size} px, so "
                "their accuracies do not compare: name another under zero_shot.clip, or change train.image_size"
            )
        classes = embed_ensembles(model, texts)

        def answer(images: ImageSet, seen: Callable[[int], None]) -> np.ndarray:
            return model.logit_scale * embed_images(model, images, batch_size, seen) @ classes.T

        return answer

    return kept_predictions(digest([hash_folder(clip), texts]), load, image_size, sets, labels, out, device)
