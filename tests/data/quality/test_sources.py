"""The qualities of sources at equal numbers agree with the small functions."""

from __future__ import annotations

import numpy as np
import pytest

from genrobust.data import SourceEmbeddings, qualities
from genrobust.data.quality.diversity import pairwise_distance
from genrobust.data.quality.realism import fidelity

CLASSES = np.eye(3, 8)


def seen(per_class: tuple[int, ...], noise: float, seed: int, made: int = 0) -> SourceEmbeddings:
    """Unit embeddings round each class's own."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(per_class)), per_class)
    rows = CLASSES[labels] + noise * rng.normal(size=(len(labels), 8))
    return SourceEmbeddings(rows / np.linalg.norm(rows, axis=1, keepdims=True), labels, made or len(labels))


@pytest.fixture(scope="module")
def sources() -> dict[str, SourceEmbeddings]:
    return {
        "real": seen((9, 6, 30), 0.3, 0),
        "narrow": seen((20, 20, 20), 0.1, 1),
        "wide": seen((12, 40, 20), 0.6, 2, made=100),
    }


def test_distributions_are_compared_at_equal_numbers(sources: dict[str, SourceEmbeddings]) -> None:
    real, narrow, wide = qualities(sources, CLASSES)
    assert (real.source, narrow.source, wide.source) == tuple(sources)
    assert (real.n, narrow.n, wide.n, wide.made) == (45, 52, 52, 100)  # 12 + 20 + 20 of both
    first = np.concatenate([np.flatnonzero(sources["wide"].labels == k)[:n] for k, n in enumerate((12, 20, 20))])
    theirs = sources["real"].embeddings
    assert wide.fid == pytest.approx(fidelity(sources["wide"].embeddings[first], theirs)["fid"], abs=1e-6)
    assert (real.fid, real.kid, real.precision, real.recall) == (None,) * 4
    assert narrow.precision is not None and wide.precision is not None and narrow.precision > wide.precision


def test_diversity_is_over_as_many_images_of_every_source(sources: dict[str, SourceEmbeddings]) -> None:
    real, narrow, wide = qualities(sources, CLASSES)
    assert real.per_class == pytest.approx((9 + 6 + 20) / 3)
    rows = [sources["wide"].embeddings[sources["wide"].labels == k][:n] for k, n in enumerate((9, 6, 20))]
    assert wide.distance == pytest.approx(np.mean([pairwise_distance(of_class) for of_class in rows]))
    assert narrow.vendi is not None and real.vendi is not None and wide.vendi is not None
    assert 1 < narrow.vendi < real.vendi < wide.vendi


def test_the_clip_score_is_the_mean_cosine_with_the_class(sources: dict[str, SourceEmbeddings]) -> None:
    real = qualities(sources, CLASSES)[0]
    own = sources["real"]
    cosines = [float(row @ CLASSES[label]) for row, label in zip(own.embeddings, own.labels, strict=True)]
    assert real.clip_score == pytest.approx(100 * np.mean(cosines))
    hits = [int(np.argmax(CLASSES @ row)) == label for row, label in zip(own.embeddings, own.labels, strict=True)]
    assert real.agreement == pytest.approx(np.mean(hits))


def test_real_images_alone_have_no_fidelity_and_single_images_no_diversity() -> None:
    real, few = qualities({"real": seen((3, 3), 0.3, 0), "few": seen((1, 1), 0.3, 1)}, CLASSES[:2])
    assert (few.fid, few.distance, few.vendi, few.per_class) == (None, None, None, 0.0)
    assert real.clip_score > 0
    apart = {"real": seen((9, 9), 0.3, 0), "first": seen((20, 0), 0.3, 1), "second": seen((0, 6), 0.3, 2)}
    _, first, second = qualities(apart, CLASSES[:2])
    assert (first.fid, second.fid) == (None, None) and first.clip_score > 0, "they share no class"
    (alone,) = qualities({"real": seen((3, 3), 0.3, 0)}, CLASSES[:2])
    assert alone.n == 6 and alone.vendi is not None
