"""Near copies of test images, in sets of a study that are not for testing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageOps

from genrobust.audit import find_near_copies
from genrobust.core import StudyData, Subset
from genrobust.data import MemoryImages

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "moved": lambda image: ImageChops.offset(image, 2, -2),
    "smaller": lambda image: image.resize((40, 40)),
    "all": lambda image: ImageChops.offset(ImageOps.mirror(image), 2, 2).resize((80, 80)),
}


def planted(data: StudyData, change: Callable[[Image.Image], Image.Image], places: range) -> MemoryImages:
    """The solid pictograms at `places`, changed."""
    solid = data.tests["solid"]
    images = [np.asarray(change(solid.image(i))) for i in places]
    return MemoryImages("planted", images, solid.labels[places], [f"planted/{i}" for i in places])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change, id=name, marks=() if name == "all" else pytest.mark.thorough)
        for name, change in CHANGES.items()
    ],
)
def test_changed_copies_are_found_and_other_images_are_not(
    change: Callable[[Image.Image], Image.Image], pictogram_data: StudyData
) -> None:
    data, places = pictogram_data, range(100, 130)
    tests = [data.tests["emoji"], Subset(data.tests["solid"], np.arange(100, 160))]
    train = Subset(data.train, np.arange(200))
    before = find_near_copies([train], tests)
    assert (before >= 0).mean() < 0.05
    copies = planted(data, change, places)
    found = find_near_copies([train, copies, Subset(copies, np.arange(5))], tests)
    assert len(found) == len(train) + len(copies) + 5
    assert (found[: len(train)] == before).all()
    first = found[len(train) : len(train) + len(copies)]
    assert (first == 1).mean() > 0.9, "the set that holds the original is named"
    assert (found[-5:] == first[:5]).all(), "an image that two sets share is one image"


def test_images_of_other_classes_are_not_compared(pictogram_data: StudyData) -> None:
    copies = planted(pictogram_data, lambda image: image, range(20))
    tests = [pictogram_data.tests["solid"]]
    assert (find_near_copies([copies], tests) == 0).all()
    pixels = [np.asarray(copies.image(i)) for i in range(20)]
    elsewhere = MemoryImages("relabeled", pixels, (copies.labels + 1) % 100, copies.keys)
    assert (find_near_copies([elsewhere], tests) >= 0).mean() < 0.2
