"""Corruptions of real images: the same for a seed, ever stronger, and as large as the image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from genrobust.core import StudyData
from genrobust.data.corrupting import CORRUPTIONS, corrupt


def distance(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_changes_an_image_ever_more_and_keeps_its_size(name: str, pictogram_data: StudyData) -> None:
    images = [pictogram_data.tests["emoji"].image(i) for i in range(4)]
    strengths = [np.mean([distance(image, corrupt(image, name, s, 7)) for image in images]) for s in range(1, 6)]
    assert strengths[0] > 0
    if name != "elastic_transform":  # whose severities are of three kinds
        assert strengths == sorted(strengths)
    wide = images[0].resize((50, 31))
    for mode in ("RGB", "L", "RGBA"):
        made = corrupt(wide.convert(mode), name, 3, 7)
        assert (made.mode, made.size) == ("RGB", wide.size)
        assert made.tobytes() == corrupt(wide.convert(mode), name, 3, 7).tobytes()


@pytest.mark.parametrize("name", ["gaussian_noise", "motion_blur", "snow", "frost", "fog", "elastic_transform"])
def test_another_seed_draws_another_one(name: str, pictogram_data: StudyData) -> None:
    image = pictogram_data.tests["emoji"].image(0)
    assert corrupt(image, name, 5, 1).tobytes() != corrupt(image, name, 5, 2).tobytes()


@pytest.mark.parametrize("name", ["defocus_blur", "zoom_blur", "motion_blur"])
def test_lengths_grow_with_the_image(name: str, pictogram_data: StudyData) -> None:
    """Shrunk again, a corrupted enlargement resembles the corrupted image."""
    image = pictogram_data.tests["emoji"].image(0)
    large = image.resize((192, 192), Image.Resampling.BICUBIC)
    shrunk = corrupt(large, name, 4, 7).resize(image.size, Image.Resampling.BOX)
    made = corrupt(image, name, 4, 7)
    assert distance(shrunk, made) < 0.6 * distance(image, made)


def test_plain_images_stay_numbers() -> None:
    for name in CORRUPTIONS:
        for color in ("black", "white"):
            made = np.asarray(corrupt(Image.new("RGB", (64, 64), color), name, 5, 0))
            assert made.shape == (64, 64, 3) and made.dtype == np.uint8
