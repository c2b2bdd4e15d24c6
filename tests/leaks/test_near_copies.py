"""Near copies of test images: found whatever their labels, in icons and in pictures as busy as photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import jpeg, picture
from PIL import Image, ImageChops, ImageOps

from genrobust.core import ImageSet, StudyData, Subset, no_progress
from genrobust.data import MemoryImages
from genrobust.data.listing import ListedImages, list_folder
from genrobust.leaks import find_near_copies, thumbnails
from genrobust.leaks.near_copies import thumbnail

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "moved": lambda image: ImageChops.offset(image, 2, -2),
    "smaller": lambda image: image.resize((40, 40)),
    "JPEG": lambda image: jpeg(image, 30),
    "all": lambda image: ImageChops.offset(ImageOps.mirror(image), 2, 2).resize((80, 80)),
}


def planted(data: StudyData, change: Callable[[Image.Image], Image.Image], places: range) -> MemoryImages:
    """The solid pictograms at `places`, changed."""
    solid = data.tests["solid"]
    images = [np.asarray(change(solid.image(i))) for i in places]
    return MemoryImages("planted", images, solid.labels[places], [f"planted/{i}" for i in places])


def found(images: ImageSet, tests: list[ImageSet]) -> np.ndarray:
    made = [thumbnails(each, no_progress)[0] for each in (images, *tests)]
    return find_near_copies(images, made[0], tests, made[1:])


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_other_images_are_not(change: str, pictogram_data: StudyData) -> None:
    data, places = pictogram_data, range(100, 130)
    tests = [data.tests["emoji"], Subset(data.tests["solid"], np.arange(100, 160))]
    assert (found(Subset(data.train, np.arange(200)), tests) >= 0).mean() < 0.05
    copies = planted(data, CHANGES[change], places)
    near = found(copies, tests)
    assert (near == 1).mean() > 0.9, "the set that holds the original is named"
    relabeled = MemoryImages("other", [np.asarray(copies.image(i)) for i in range(30)], [0] * 30, copies.keys)
    assert (found(relabeled, tests) == near).all(), "labels do not matter"


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_of_photographs_are_found(change: str) -> None:
    originals = [picture(seed) for seed in range(40)]
    tests = MemoryImages("tests", [np.asarray(image) for image in originals], [0] * 40, [*map(str, range(40))])
    changed = [np.asarray(CHANGES[change](image)) for image in originals[:20]]
    others = [np.asarray(picture(seed)) for seed in range(100, 140)]
    mixed = MemoryImages("mixed", [*changed, *others], [0] * 60, [*map(str, range(60))])
    near = found(mixed, [tests])
    assert (near[:20] == 0).mean() > 0.9 and (near[20:] == -1).all()


def test_a_jpeg_is_read_at_a_reduced_size_and_whatever_cannot_be_read_is_counted(tmp_path: Path) -> None:
    for place in range(4):
        (tmp_path / "class").mkdir(exist_ok=True)
        picture(place, 400).save(tmp_path / "class" / f"{place}.jpg", quality=90)
    damaged = tmp_path / "class" / "damaged.jpg"
    damaged.write_bytes((tmp_path / "class" / "0.jpg").read_bytes()[:3000])
    listing = list_folder(tmp_path, ["class"])
    images = ListedImages("images", listing, {"class": (0,)}, by_name=True)
    assert {images.reduced(i, 32).size for i in range(4)} == {(50, 50)}
    made, broken = thumbnails(images, no_progress)
    assert broken == [4]
    whole = np.stack([thumbnail(images.image(i)) for i in range(4)])
    assert np.abs(made[:4].astype(int) - whole).mean() < 2
