"""A small training job on a slice of the pictograms."""

from __future__ import annotations

import numpy as np
import pytest
from photographs import photograph
from PIL import Image

from genrobust.core.images import ImageSet, LabelSpace, Subset
from genrobust.data.readers import pictograms
from genrobust.recipe.classify import TrainConfig
from genrobust.train.mixture import Mixture, Part


class Job:
    """Eight classes at 32 px: `real` has 130 images or so, `wild` 500, `val` about 20."""

    def __init__(self) -> None:
        data = pictograms.load()
        assert data.retrieval is not None
        self.labels = LabelSpace(data.labels.classes[:8])
        self.real, self.wild, self.val = (_first(s, 8) for s in (data.train, data.retrieval, data.val))
        self.config = TrainConfig(
            architecture="test_resnet",
            image_size=32,
            steps=12,
            batch_size=16,
            warmup_steps=2,
            validate_every=4,
            save_every=3,
            precision="float32",
        )

    def mixture(self, parts: list[Part] | None = None) -> Mixture:
        return Mixture(parts or [Part("real", self.real)], self.config.batch_size, self.config.image_size)


def _first(images: ImageSet, classes: int) -> ImageSet:
    return Subset(images, np.flatnonzero(images.labels < classes))


@pytest.fixture(scope="session")
def job() -> Job:
    return Job()


@pytest.fixture(scope="session")
def photographs() -> list[Image.Image]:
    """Images like photographs, in sizes that are no multiples of a JPEG's blocks."""
    return [photograph(*size, seed) for seed, size in enumerate([(250, 187), (187, 250), (201, 99), (160, 160)])]
