"""Images that are of one thing by their names: told where a rule is missing, and kept apart by the rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from genrobust.core import StudyData, UserError
from genrobust.data import MemoryImages
from genrobust.leaks import apart_from_tests, describe_same_names
from genrobust.leaks.image_names import NUMBERED

PHOTOS = [f"n0210666{photo % 2}_{15858 + 7 * photo}" for photo in range(8)]
SKETCHES = [f"{photo}-{drawing}.png" for photo in PHOTOS for drawing in range(6)]


def images(name: str, files: Sequence[str]) -> MemoryImages:
    pixels = np.zeros((len(files), 4, 4, 3), dtype=np.uint8)
    return MemoryImages(name, [*pixels], [0] * len(files), [f"dog/{file}" for file in files])


def test_drawings_of_one_photograph_are_told_and_left_out_by_the_rule_that_is_named(pictogram_data: StudyData) -> None:
    pool, sketch = images("retrieved", SKETCHES[:24:2]), images("sketch", SKETCHES[1::2])
    notice = describe_same_names(pool, {"photo": images("photo", ["1.png"]), "sketch": sketch})
    assert notice.startswith("12 of the 12 images of retrieved") and "dog/n02106660_15858-1.png of sketch" in notice
    assert f"data.groups_apart: {{pattern: '{NUMBERED.pattern}'}}" in notice
    more = images("retrieved", [*SKETCHES[:24:2], "n02106660_99999-1.png", "own.png"])
    data = replace(pictogram_data, retrieval=more, tests={"sketch": sketch}, clean="sketch")
    apart, notices = apart_from_tests(data, NUMBERED)
    assert apart.retrieval is not None and apart.retrieval.keys == ["dog/n02106660_99999-1.png", "dog/own.png"]
    assert apart.train is data.train and [notice.split(" belong")[0] for notice in notices] == [
        "12 of the 14 images of retrieved"
    ]
    with pytest.raises(UserError, match=r"every image of retrieved .* data\.groups_apart"):
        apart_from_tests(replace(data, retrieval=pool), NUMBERED)


@pytest.mark.parametrize(("repeated", "says"), [(4, True), (3, False)])
def test_names_mean_something_if_half_of_them_come_more_than_once(repeated: int, says: bool) -> None:
    learned = images("retrieved", [f"{photo}-0.png" for photo in PHOTOS])
    once = [f"{photo}-1.png" for photo in PHOTOS]
    again = [f"{photo}-2.png" for photo in PHOTOS[:repeated]]
    notice = describe_same_names(learned, {"sketch": images("sketch", [*once, *again])})
    assert bool(notice) == says
    if says:
        assert f"dog/{PHOTOS[0]}-0.png" in notice and f"dog/{PHOTOS[0]}-1.png of sketch" in notice


@pytest.mark.parametrize(
    "pattern",
    [
        "img_{:04d}.png",
        "{:06d}.jpg",
        "n02106662_{:d}.JPEG",  # of one class
        "ILSVRC2012_val_{:08d}.JPEG",
        "clipart_001_{:06d}.jpg",
        "056_{:04d}.jpg",
        "dog.0046_{0:d}_{0:d}.jpg",
        "IMG_202601{1:02d}_{0:06d}.jpg",  # of one day
    ],
)
def test_plain_numbers_say_nothing(pattern: str) -> None:
    learned, tested = (
        images(name, [pattern.format(n, n // 4) for n in range(start, 80, 2)]) for start, name in enumerate("ab")
    )
    assert describe_same_names(learned, {"b": tested}) == ""


def test_no_set_that_comes_with_genrobust_is_warned_of(pictogram_data: StudyData) -> None:
    assert not any(describe_same_names(images, pictogram_data.tests) for images in pictogram_data.learned.values())
