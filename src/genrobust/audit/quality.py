"""The qualities of a study's sources: their CLIP embeddings, compared at equal numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from genrobust.audit.agreement import agreement
from genrobust.audit.diversity import by_class, common_counts, first_of_each_class
from genrobust.audit.fidelity import NEIGHBORS, fidelity
from genrobust.core import REAL, SourceQuality


@dataclass(frozen=True, slots=True)
class Seen:
    """The images of a source as a CLIP sees them: unit embeddings float [N, D] and labels int [N], of `made` images."""

    embeddings: np.ndarray
    labels: np.ndarray
    made: int


def qualities(sources: Mapping[str, Seen], classes: np.ndarray) -> tuple[SourceQuality, ...]:
    """Compare `sources`, which include the real training images under the name REAL.

    `classes`, float [K, D], are the embeddings of the classes' names.

    FID, KID, precision and recall compare as many images of each class for every source but the real ones, which enter
    whole: as many as all the others have. Diversity is over as many images of each class of all sources, real ones too.
    """
    others = [seen.labels for name, seen in sources.items() if name != REAL]
    compared = common_counts(*others) if others else {}
    alike = {k: n for k, n in common_counts(*(seen.labels for seen in sources.values())).items() if n > 1}
    measured = []
    for name, seen in sources.items():
        whole = name == REAL or not compared
        chosen = np.arange(len(seen.labels)) if whole else first_of_each_class(seen.labels, compared)
        sizes = len(chosen), len(sources[REAL].labels)
        near = None
        if name != REAL and min(sizes) > NEIGHBORS:
            near = fidelity(seen.embeddings[chosen], sources[REAL].embeddings)
        distance: float | None = None
        vendi: float | None = None
        if alike:
            sample = first_of_each_class(seen.labels, alike)
            of_class = by_class(seen.embeddings[sample], seen.labels[sample], alike).values()
            distance, vendi = np.mean(list(of_class), axis=0).tolist()
        embeddings, labels = seen.embeddings[chosen], seen.labels[chosen]
        measured.append(
            SourceQuality(
                source=name,
                made=seen.made,
                n=len(chosen),
                **{figure: getattr(near, figure, None) for figure in ("fid", "kid", "precision", "recall")},
                per_class=sum(alike.values()) / len(alike) if alike else 0.0,
                distance=distance,
                vendi=vendi,
                clip_score=100 * float((embeddings * classes[labels]).sum(axis=1).mean()),
                agreement=agreement(embeddings @ classes.T, labels, [""] * len(labels)).share,
            )
        )
    return tuple(measured)
