"""The qualities of a study's sources: their CLIP embeddings, compared at equal numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from genrobust.core import REAL, SourceQuality
from genrobust.data.quality.diversity import by_class, common_counts, first_of_each_class
from genrobust.data.quality.labels import agreement
from genrobust.data.quality.realism import NEIGHBORS, fidelity


@dataclass(frozen=True, slots=True)
class SourceEmbeddings:
    """The CLIP embeddings of a source: unit vectors float [N, D] and labels int [N], a sample of `made` images."""

    embeddings: np.ndarray
    labels: np.ndarray
    made: int


def qualities(sources: Mapping[str, SourceEmbeddings], classes: np.ndarray) -> tuple[SourceQuality, ...]:
    """Compare `sources`, which include the real training images under the name REAL.

    `classes`, float [K, D], are the embeddings of the classes' names.

    For FID, KID, precision and recall, every generated source is cut to the same number of images per class; the real
    images are used in full. Generated sources that share no class have none of these. Diversity uses one number per
    class for all sources, the real images too.
    """
    generated_labels = [source.labels for name, source in sources.items() if name != REAL]
    compared_counts = common_counts(*generated_labels) if generated_labels else {}
    all_counts = common_counts(*(source.labels for source in sources.values()))
    diversity_counts = {k: n for k, n in all_counts.items() if n > 1}
    measured = []
    for name, source in sources.items():
        is_whole = name == REAL or not compared_counts
        chosen = np.arange(len(source.labels)) if is_whole else first_of_each_class(source.labels, compared_counts)
        sizes = len(chosen), len(sources[REAL].labels)
        scores = dict[str, float | None].fromkeys(("fid", "kid", "precision", "recall"))
        if name != REAL and compared_counts and min(sizes) > NEIGHBORS:
            scores |= fidelity(source.embeddings[chosen], sources[REAL].embeddings)
        distance: float | None = None
        vendi: float | None = None
        if diversity_counts:
            sample = first_of_each_class(source.labels, diversity_counts)
            of_class = by_class(source.embeddings[sample], source.labels[sample], diversity_counts).values()
            distance, vendi = np.mean(list(of_class), axis=0).tolist()
        embeddings, labels = source.embeddings[chosen], source.labels[chosen]
        measured.append(
            SourceQuality(
                source=name,
                made=source.made,
                n=len(chosen),
                **scores,
                per_class=sum(diversity_counts.values()) / len(diversity_counts) if diversity_counts else 0.0,
                distance=distance,
                vendi=vendi,
                clip_score=100 * float((embeddings * classes[labels]).sum(axis=1).mean()),
                agreement=agreement(embeddings @ classes.T, labels, [""] * len(labels)).share,
            )
        )
    return tuple(measured)
