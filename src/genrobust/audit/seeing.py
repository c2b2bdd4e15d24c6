"""Passes of models over many images, part after part: a killed audit or filter resumes from the parts that it kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from genrobust.classifiers import Clip, OpenClassifier, clip_embeddings, hash_clip
from genrobust.core import PART, Advance, Arrays, ImageSet, KeptParts, Subset, UserError, progress_bar


def compute_in_parts(
    images: ImageSet, batch_size: int, parts: KeptParts, see: Callable[[ImageSet, Advance], Arrays], description: str
) -> dict[str, np.ndarray]:
    """Return the arrays that `see` returns for all `images`, with a bar called `description`.

    `parts`, which depend on the model that sees them, keep the arrays meanwhile.

    Raises:
        UserError: The set is empty.
    """
    if len(images) == 0:
        raise UserError(f"the image set {images.name} is empty: there is nothing to look at")
    each = batch_size * math.ceil(PART / batch_size)  # whole batches: sums round as in one go
    with progress_bar(description, len(images)) as bar:

        def seen(items: range) -> Arrays:
            return see(Subset(images, items), bar.advance)

        return parts.of(images.fingerprint, batch_size).run(len(images), each, seen, bar.advance)


def embed_in_parts(clip: Clip, folder: Path, images: ImageSet, batch_size: int, parts: KeptParts) -> np.ndarray:
    """Return the embeddings, float32 [N, D], of `images` by `clip`, which is that in `folder`."""

    def see(images: ImageSet, advance: Advance) -> Arrays:
        return {"embeddings": clip_embeddings(clip, images, batch_size, advance)}

    embedding_parts = parts.of("CLIP", hash_clip(folder))
    return compute_in_parts(images, batch_size, embedding_parts, see, f"CLIP, {images.name}")["embeddings"]


def logits_in_parts(
    judge: OpenClassifier, images: ImageSet, batch_size: int, device: torch.device, parts: KeptParts
) -> np.ndarray:
    """Return the logits, float32 [N, K], of `judge` for `images`."""
    network = judge.load(device)

    def see(images: ImageSet, advance: Advance) -> Arrays:
        return {"logits": judge.logits(network, images, batch_size, device, advance)}

    logit_parts = parts.of("logits", judge.weights_hash, judge.preparation, judge.flip)
    return compute_in_parts(images, batch_size, logit_parts, see, f"classifier, {images.name}")["logits"]
