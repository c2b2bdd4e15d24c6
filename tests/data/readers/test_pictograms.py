"""The packaged benchmark opens, and its sides share neither keys nor pixels."""

from __future__ import annotations

import numpy as np
import pytest

from genrobust.core import StudyData, UserError
from genrobust.data.memory import MemoryImages
from genrobust.data.retrieval import retrieve


def test_every_class_trains_and_nearly_all_are_tested(pictogram_data: StudyData) -> None:
    assert len(pictogram_data.labels) == 100
    classes = [
        set(of.labels.tolist()) for of in (pictogram_data.train, pictogram_data.val, pictogram_data.tests["test"])
    ]
    assert classes[0] == set(range(100))
    assert min(map(len, classes)) >= 90  # what resembles an image that is trained on is in no other part
    assert pictogram_data.clean == "test"
    assert pictogram_data.shifts == ("outline-v2", "solid", "duotone", "emoji", "illustration", "hand-drawn", "pixel")


def test_no_key_and_no_picture_lies_on_two_sides(pictogram_data: StudyData) -> None:
    data, keys, pixels = pictogram_data, set(), set()
    for side in (data.train, data.val, *data.tests.values(), data.retrieval, data.choosing):
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


def generated(labels: list[int], styles: list[str]) -> MemoryImages:
    return MemoryImages("generated", [b"x"] * len(labels), labels, [str(i) for i in range(len(labels))], styles)


def test_retrieval_matches_counts_by_class_and_style(pictogram_data: StudyData) -> None:
    pool = pictogram_data.retrieval
    assert pool is not None
    taken = retrieve(pool, generated([0, 0, 0, 5], ["solid", "solid", "emoji", "outline"]))
    assert np.bincount(taken.labels, minlength=6).tolist() == [3, 0, 0, 0, 0, 1]
    of_class_0 = sorted(style for style, label in zip(taken.styles, taken.labels, strict=True) if label == 0)
    assert of_class_0 == ["emoji", "solid", "solid"]
    assert set(taken.keys) <= set(pool.keys)


def test_retrieval_stays_short_rather_than_repeat(pictogram_data: StudyData) -> None:
    pool = pictogram_data.choosing
    assert pool is not None
    here = int((pool.labels == 0).sum())
    taken = retrieve(pool, generated([0] * (here + 5), ["outline"] * (here + 5)))
    assert len(taken) == len(set(taken.keys)) == here


def test_nothing_to_retrieve_is_an_error(pictogram_data: StudyData) -> None:
    pool = pictogram_data.choosing
    assert pool is not None
    lacking = int(np.flatnonzero(np.bincount(pool.labels, minlength=101) == 0)[0])
    with pytest.raises(UserError, match="nothing to retrieve"):
        retrieve(pool, generated([lacking], ["solid"]))
