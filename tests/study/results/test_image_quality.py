"""Qualities: every source is embedded once, and a damaged one is named."""

import numpy as np
import pytest

from genrobust.core import GenrobustError, Subset
from genrobust.recipe import QualityConfig
from genrobust.study.results.image_quality import Qualities
from genrobust.study.stages.embeddings import CLASS_NAMES


def test_a_source_is_embedded_once(icons, clip_folder, tmp_path):
    config = QualityConfig(clip=str(clip_folder), per_class=3)
    few = np.flatnonzero(icons.train.labels < 4)
    sources = {"real": Subset(icons.train, few, "real"), "wild": Subset(icons.retrieval, np.arange(200), "wild")}
    texts = [["an icon", f"a {c.prompt}"] for c in icons.labels.classes]
    made = Qualities(config, sources, texts, tmp_path, "cpu", 5)
    three_each = int(np.minimum(np.bincount(sources["wild"].labels), 3).sum())
    assert made.missing() == {"real": 12, "wild": three_each, CLASS_NAMES: len(texts)}
    made.embed(list(made.missing()))
    first = made.measured()
    files = sorted((tmp_path / "embeddings").glob("*/embeddings.npz"))
    assert len(files) == 3 and first[0].made == len(few) and first[0].n == 12  # three of each of four classes
    again = Qualities(config, sources, texts, tmp_path, "cpu", 5)
    assert again.missing() == {} and again.measured() == first
    files[0].write_bytes(b"damaged")
    with pytest.raises(GenrobustError, match=files[0].parent.name):
        again.measured()
