"""Image folders made from a slice of the pictograms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def photos(write_folder: Callable[..., Path]) -> Path:
    """A folder with train (12 images a class) and test (3 a class) of three classes, as a user may have them."""
    classes = {"camera": "camera", "Clock": "clock", "shopping_bag": "shopping-bag"}
    write_folder("train", "train", 12, classes)
    return write_folder("test", "test", 3, classes).parent


@pytest.fixture(scope="session")
def save_jpeg() -> Callable[..., None]:
    """Writes a small JPEG of one color, and the folders above it."""

    def save(path: Path, color: str = "red", size: tuple[int, int] = (8, 8)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, color).save(path, "JPEG")

    return save
