"""Corrupted copies of test sets: their names, keys, groups and pixels, and their place in a study."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from genrobust.core import StudyData, Subset, UserError
from genrobust.data import MemoryImages, load_data, with_derived
from genrobust.data.readers.corruptions import Corruptions
from genrobust.recipe import DataConfig


def corrupted(**keys: Any) -> StudyData:
    shifts = {"corrupted": {"kind": "corruptions", **keys}}
    config = DataConfig.model_validate({"source": "pictograms", "shifts": shifts})
    return with_derived(load_data(config), config)


def test_each_family_is_a_set_of_every_image_in_every_way() -> None:
    data = corrupted()
    test = data.tests["test"]
    families = {name: len(data.tests[name]) / len(test) for name in data.derived}
    assert families == {f"corrupted-{k}": 5 * n for k, n in zip(FAMILIES, (3, 4, 4, 4), strict=True)}
    blur = data.tests["corrupted-blur"]
    assert blur.keys[0] == f"defocus_blur-1/{test.keys[0]}" and len({*blur.keys}) == len(blur)
    np.testing.assert_array_equal(blur.labels, np.tile(test.labels, 20))
    assert data.image_groups["corrupted-blur"][: len(test)] == data.image_groups["test"]
    assert blur.pictures == [*test.keys] * 20
    assert "zoom_blur at severity 1, 2, 3, 4, 5" in getattr(blur, "protocol", "")


FAMILIES = ("noise", "blur", "weather", "digital")


def test_pixels_depend_on_the_key_alone() -> None:
    """Not on the place in the set, on the others, or on what else is made."""
    keys = {"which": ["shot_noise", "snow"], "severities": [2, 4]}
    some, all_of_them = corrupted(**keys), corrupted()
    assert some.derived == ("corrupted-noise", "corrupted-weather")
    snow, weather = some.tests["corrupted-weather"], all_of_them.tests["corrupted-weather"]
    for place in (0, len(snow) - 1):
        same = list(weather.keys).index(snow.keys[place])
        assert snow.image(place).tobytes() == weather.image(same).tobytes()
    reversed_set = Subset(snow, range(len(snow))[::-1])
    assert reversed_set.image(0).tobytes() == snow.image(len(snow) - 1).tobytes()
    assert snow.fingerprint != corrupted(**{**keys, "severities": [2]}).tests["corrupted-weather"].fingerprint


def test_the_copies_of_an_image_are_one_picture_in_all_sets() -> None:
    bells = MemoryImages("test", [b"a", b"b"], [0, 1], ["bell", "camera"])
    made = Corruptions(which=("shot_noise", "fog"), severities=(3,)).make("c", {"test": bells}, "test")
    assert [images.pictures for images in made.values()] == [["bell", "camera"]] * 2
    assert [Subset(images, [1]).pictures for images in made.values()] == [("camera",)] * 2


def test_corrupted_images_may_be_resized() -> None:
    one = corrupted(of="hand-drawn", which=["fog"], severities=[3], side=32).tests["corrupted-weather"]
    assert one.image(0).size == (32, 32) and "resizing the shorter side to 32 px" in getattr(one, "protocol", "")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"of": "sketch"}, r"corrupted\.of: no test set 'sketch'"),
        ({"of": "corrupted-noise"}, "no test set"),
        ({"which": ["rain"]}, "corrupted.which"),
        ({"severities": [6]}, "corrupted.severities"),
        ({"path": "photos"}, "corrupted.path"),
    ],
)
def test_a_mistake_names_the_key(keys: dict[str, Any], said: str) -> None:
    with pytest.raises((UserError, ValidationError), match=said):
        corrupted(**keys)
