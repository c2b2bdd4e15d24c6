"""A CLIP that has seen none of a study's training: its zero-shot predictions on the study's test sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genrobust.classifiers.predictor import kept_predictions
from genrobust.classifiers.preprocess import protocol
from genrobust.classifiers.saved import SavedPredictions
from genrobust.core import ImageSet, LabelSpace, UserError, digest, hash_folder, keep_freed_memory, set_threads
from genrobust.recipe import EvaluateConfig

if TYPE_CHECKING:
    import torch


def predict_zero_shot(
    clip: Path,
    texts: Sequence[Sequence[str]],
    settings: EvaluateConfig,
    image_size: int,
    sets: dict[str, ImageSet],
    labels: LabelSpace,
    out: Path,
    device: str = "auto",
    threads: int = 2,
) -> SavedPredictions[str]:
    """Predictions of the CLIP in the folder `clip` on every set: how like an image is to the `texts` of each class.

    The zero-shot classifier of Radford et al. 2021. Kept in `out` as `predict` keeps a checkpoint's. Images are
    prepared as `settings` say, as for the study's classifiers, which train at `image_size` px: raises UserError for a
    CLIP of another size than they are evaluated at.
    """
    size = settings.image_size or image_size

    def load(where: torch.device) -> Callable[[ImageSet, Callable[[int], None]], np.ndarray]:
        from genrobust.classifiers.clip import clip_embeddings, embed_ensembles, load_clip

        set_threads(threads)
        keep_freed_memory()
        model = load_clip(clip, where)
        if model.image_size != size:
            raise UserError(
                f"the CLIP in {clip} sees images of {model.image_size} px and the classifiers of {size} px, so their "
                "accuracies do not compare: name another under zero_shot.clip, or change evaluate.image_size"
            )
        classes = embed_ensembles(model, texts)

        def answer(images: ImageSet, seen: Callable[[int], None]) -> np.ndarray:
            found = clip_embeddings(model, images, settings.batch_size, seen, settings.crop_pct, settings.flip)
            return model.logit_scale * found @ classes.T

        return answer

    words = protocol(size, settings.crop_pct, settings.flip)
    return kept_predictions(digest([hash_folder(clip), texts]), load, words, sets, labels, out, device)
