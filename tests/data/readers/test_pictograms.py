"""The packaged benchmark opens, and its sides share neither keys nor pixels."""

from __future__ import annotations

import numpy as np
import pytest

from genrobust.core import StudyData, UserError
from genrobust.data import MemoryImages


def test_every_class_trains_and_nearly_all_are_tested(pictogram_data: StudyData) -> None:
    assert len(pictogram_data.labels) == 100
    classes = [
        set(of.labels.tolist()) for of in (pictogram_data.train, pictogram_data.val, pictogram_data.tests["test"])
    ]
    assert classes[0] == set(range(100))
    assert min(map(len, classes)) >= 85  # what resembles an image that is trained on is in no other part
    assert pictogram_data.clean == "test"
    assert pictogram_data.shifts == ("outline-v2", "solid", "duotone", "emoji", "illustration", "hand-drawn", "pixel")


def test_no_key_and_no_picture_lies_on_two_sides(pictogram_data: StudyData) -> None:
    data, keys, pixels = pictogram_data, set(), set()
    for side in (data.train, data.val, *data.tests.values(), data.retrieval, data.shifted_val):
        assert side is not None
        here = {side.image(i).tobytes() for i in range(len(side))}
        assert not pixels & here, side.name
        assert not keys & set(side.keys), side.name
        pixels |= here
        keys |= set(side.keys)


def test_memory_images_hold_arrays_and_bytes_alike(pictogram_data: StudyData) -> None:
    arrays = [np.asarray(pictogram_data.val.image(i)) for i in range(3)]
    images = MemoryImages("three", arrays, [2, 0, 1], ["a", "b", "c"])
    assert images.image(1).tobytes() == arrays[1].tobytes()
    assert images.fingerprint != MemoryImages("three", arrays[::-1], [2, 0, 1], ["a", "b", "c"]).fingerprint
    assert images.fingerprint != MemoryImages("three", arrays, [2, 1, 0], ["a", "b", "c"]).fingerprint


@pytest.mark.parametrize(
    ("labels", "keys", "what"), [([0, 1], ["a", "b"], "differ in number"), ([0, 1, 2], ["a", "b", "a"], "share a key")]
)
def test_memory_images_refuse_what_does_not_fit(labels: list[int], keys: list[str], what: str) -> None:
    with pytest.raises(UserError, match=what):
        MemoryImages("three", [np.zeros((4, 4, 3), np.uint8)] * 3, labels, keys)
