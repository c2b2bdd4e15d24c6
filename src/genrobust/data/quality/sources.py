"""Compare the sources of a study by their CLIP embeddings, at equal numbers of images."""

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
    """CLIP embeddings of a sample of a source of `made` images: unit vectors float [N, D] and labels int [N]."""

    embeddings: np.ndarray
    labels: np.ndarray
    made: int

    def at(self, indices: np.ndarray) -> SourceEmbeddings:
        return SourceEmbeddings(self.embeddings[indices], self.labels[indices], self.made)


def qualities(sources: Mapping[str, SourceEmbeddings], classes: np.ndarray) -> tuple[SourceQuality, ...]:
    """Compare `sources`, which include the real training images as REAL.

    FID, KID, precision and recall compare each generated source with all real images. All generated sources are cut to
    the same number of images per class. If they share no class, there are no such scores. Diversity uses one number of
    images per class for all sources, real images included.

    Args:
        classes: Embeddings of the names of the classes, float [K, D].
    """
    generated_labels = [source.labels for name, source in sources.items() if name != REAL]
    compared_counts = common_counts(*generated_labels) if generated_labels else {}
    all_counts = common_counts(*(source.labels for source in sources.values()))
    diversity_counts = {label: count for label, count in all_counts.items() if count > 1}
    if diversity_counts:
        per_class = sum(diversity_counts.values()) / len(diversity_counts)
    else:
        per_class = 0.0
    measured = []
    for name, source in sources.items():
        compared = source
        if name != REAL and compared_counts:
            compared = source.at(first_of_each_class(source.labels, compared_counts))
        scores: dict[str, float | None] = {"fid": None, "kid": None, "precision": None, "recall": None}
        has_enough = min(len(compared.labels), len(sources[REAL].labels)) > NEIGHBORS
        if name != REAL and compared_counts and has_enough:
            scores |= fidelity(compared.embeddings, sources[REAL].embeddings)
        distance, vendi = _diversity(source, diversity_counts)
        no_styles = [""] * len(compared.labels)
        measured.append(
            SourceQuality(
                source=name,
                made=source.made,
                n=len(compared.labels),
                **scores,
                per_class=per_class,
                distance=distance,
                vendi=vendi,
                clip_score=100 * float((compared.embeddings * classes[compared.labels]).sum(axis=1).mean()),
                agreement=agreement(compared.embeddings @ classes.T, compared.labels, no_styles).share,
            )
        )
    return tuple(measured)


def _diversity(source: SourceEmbeddings, counts: dict[int, int]) -> tuple[float | None, float | None]:
    """Return the mean over classes of `pairwise_distance` and `vendi_score`. None without classes."""
    if not counts:
        return None, None
    sample = source.at(first_of_each_class(source.labels, counts))
    of_classes = by_class(sample.embeddings, sample.labels, counts).values()
    distance, vendi = np.mean(list(of_classes), axis=0).tolist()
    return distance, vendi
