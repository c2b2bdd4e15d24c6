"""Run models on many images, part after part: killed work resumes from its finished parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from genrobust.classifiers.networks.logits import Feed, predict_together
from genrobust.classifiers.opened_classifier import OpenClassifier
from genrobust.classifiers.sources.clip import Clip, clip_embeddings
from genrobust.classifiers.sources.model_folders import hash_clip
from genrobust.core import ImageSet, Subset, check_not_empty, progress_bar
from genrobust.store import PART, Advance, Arrays, KeptParts


def compute_in_parts(
    images: ImageSet,
    batch_size: int,
    parts: KeptParts,
    run_model: Callable[[ImageSet, Advance], Arrays],
    description: str,
) -> dict[str, np.ndarray]:
    """Return the arrays that `run_model` returns for all `images`. The inputs of `parts` must identify the model."""
    check_not_empty(images)
    # Parts are whole batches, so that sums round as without parts.
    each = batch_size * math.ceil(PART / batch_size)
    with progress_bar(description, len(images)) as bar:

        def run_part(items: range) -> Arrays:
            return run_model(Subset(images, items), bar.advance)

        return parts.child(images.fingerprint, batch_size).run(len(images), each, run_part, bar.advance)


def embed_in_parts(clip: Clip, folder: Path, images: ImageSet, batch_size: int, parts: KeptParts) -> np.ndarray:
    """Return the embeddings, float32 [N, D], of `images` by `clip`, which was loaded from `folder`."""

    def run_model(images: ImageSet, advance: Advance) -> Arrays:
        return {"embeddings": clip_embeddings(clip, images, batch_size, advance)}

    embedding_parts = parts.child("CLIP", hash_clip(folder))
    return compute_in_parts(images, batch_size, embedding_parts, run_model, f"CLIP, {images.name}")["embeddings"]


def logits_in_parts(classifier: OpenClassifier, images: ImageSet, feed: Feed, parts: KeptParts) -> np.ndarray:
    """Return the logits, float32 [N, K], of `classifier` for `images`."""
    networks = [classifier.load(feed.device)]
    names = [classifier.name]

    def run_model(images: ImageSet, advance: Advance) -> Arrays:
        (logits,) = predict_together(networks, images, classifier.prepare, feed, names, advance, classifier.flip)
        return {"logits": logits}

    logit_parts = parts.child("logits", classifier.weights_hash, classifier.preparation, classifier.flip)
    return compute_in_parts(images, feed.batch_size, logit_parts, run_model, f"classifier, {images.name}")["logits"]
