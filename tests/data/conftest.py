"""Image folders made from a slice of the pictograms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from genrobust.core.images import StudyData
from genrobust.data.readers import pictograms


@pytest.fixture(scope="session")
def benchmark() -> StudyData:
    return pictograms.load()


@pytest.fixture
def photos(tmp_path: Path, benchmark: StudyData) -> Path:
    """A folder with train (12 images a class) and test (3 a class) of three classes, as a user may have them."""
    wanted = {"camera": "camera", "clock": "Clock", "shopping-bag": "shopping_bag"}
    for split, images, each in (("train", benchmark.train, 12), ("test", benchmark.tests["test"], 3)):
        for class_id, folder in wanted.items():
            target = tmp_path / split / folder
            target.mkdir(parents=True)
            places = [i for i, label in enumerate(images.labels) if label == benchmark.labels.index(class_id)][:each]
            for number, place in enumerate(places):
                images.image(place).save(target / f"{number:02d}.png")
    return tmp_path


@pytest.fixture(scope="session")
def save_jpeg() -> Callable[..., None]:
    """Writes a small JPEG of one colour, and the folders above it."""

    def save(path: Path, colour: str = "red", size: tuple[int, int] = (8, 8)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path, "JPEG")

    return save
