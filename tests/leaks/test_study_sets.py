"""Which sets may hold copies of which: what is left out, what is counted, and the files and labels that are named."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from genrobust.core import ImageSet, StudyData, UserError
from genrobust.data import MemoryImages
from genrobust.leaks import (
    Copies,
    LabelConflict,
    copies_of_tests,
    hash_contents,
    without_copies,
    without_labeled_images,
    without_leaks,
    without_withheld,
)


def images(name: str, contents: str, labels: Sequence[int] | None = None) -> MemoryImages:
    """One image for each letter: equal letters are equal files, upper case is a near copy of lower case."""
    keys = [f"{name}/{place}{letter}" for place, letter in enumerate(contents)]
    return MemoryImages(name, [letter.encode() for letter in contents], labels or [0] * len(contents), keys)


def letters(images: ImageSet | None) -> str:
    assert images is not None
    return "".join(key[-1] for key in images.keys)


def near_copies(own: ImageSet, tests: Mapping[str, ImageSet]) -> np.ndarray:
    joined = "".join(map(letters, tests.values()))
    lower = [joined.find(letter.lower()) if letter.isupper() else -1 for letter in letters(own)]
    return np.array(lower)


@pytest.fixture
def data(pictogram_data: StudyData) -> StudyData:
    tests = {"test": images("test", "abcd"), "photo": images("photo", "efgh"), "sketch": images("sketch", "ijkl")}
    empty: dict[str, Any] = dict.fromkeys(("retrieval", "withheld", "shifted_val", "search_pool", "generated"))
    return replace(
        pictogram_data, train=images("train", "pq"), val=images("val", "rs"), tests=tests, clean="test", **empty
    )


LEARNED = ("train", "val", "retrieval", "withheld", "shifted_val", "search_pool", "generated")


@pytest.mark.parametrize("key", LEARNED)
def test_what_is_learned_from_holds_no_copy_of_a_test_image(key: str, data: StudyData) -> None:
    left, notices = without_leaks(replace(data, **{key: images("own", "xFazGyc")}), hash_contents, near_copies)
    assert letters(getattr(left, key)) == "xzy" and left.tests == data.tests
    (copies,) = notices
    assert isinstance(copies, Copies) and copies.name == "own" and copies.total == 7
    assert dict(copies.originals) == {1: "photo", 2: "test", 4: "photo", 6: "test"}
    assert (copies.near, copies.left_out, copies.learned) == (2, True, True)
    assert copies.example == ("own/1F", "photo/1f")
    for part in ("4 of the 7 images of own", "2 of photo", "2 of test", "2 near copies", "own/1F", "photo/1f"):
        assert part in str(copies)
    assert "1 near copy)" in str(replace(copies, near=1))


@pytest.mark.parametrize("key", [key for key in LEARNED if key != "shifted_val"])
def test_what_is_learned_from_holds_no_copy_of_the_shifted_validation_set(key: str, data: StudyData) -> None:
    data = replace(data, shifted_val=images("sketch-val", "mnAo"))
    left, notices = without_leaks(replace(data, **{key: images("own", "xmNza")}), hash_contents, near_copies)
    assert letters(getattr(left, key)) == "xz" and letters(left.shifted_val) == "mno"
    originals = {copies.name: [*copies.originals.values()] for copies in notices if isinstance(copies, Copies)}
    assert originals == {"sketch-val": ["test"], "own": ["sketch-val", "sketch-val", "test"]}


def test_a_set_that_is_chosen_by_holds_no_copy_of_another_test_image(data: StudyData) -> None:
    data = replace(data, tests={**data.tests, "photo": images("photo", "eIfgha")}, train=images("train", "pei"))
    left, notices = without_leaks(data, hash_contents, near_copies, ["photo"])
    assert {name: letters(each) for name, each in left.tests.items()} == {
        "test": "abcd",
        "photo": "efgh",
        "sketch": "ijkl",
    }
    assert [*left.tests] == ["test", "photo", "sketch"] and letters(left.train) == "p"
    assert [copies.name for copies in notices if isinstance(copies, Copies)] == ["photo", "train"]
    kept, notices = without_leaks(data, hash_contents, near_copies)
    assert letters(kept.tests["photo"]) == "eIfgha", "a set that is only scored is cleaned of exact copies later"
    assert [copies.name for copies in notices if isinstance(copies, Copies)] == ["train"]


def test_a_set_of_copies_alone_is_a_mistake_that_names_their_sets(data: StudyData) -> None:
    with pytest.raises(UserError, match=r"own .*photo and test.*near_copies"):
        without_leaks(replace(data, search_pool=images("own", "Ea")), hash_contents, near_copies)
    with pytest.raises(UserError, match=r"own .*test") as error:
        without_leaks(replace(data, search_pool=images("own", "aa")), hash_contents, near_copies)
    assert "near_copies" not in str(error.value), "exact copies are never kept"


def test_copies_are_left_out_of_test_sets_and_counted_by_where_they_come_from(data: StudyData) -> None:
    tests = {"test": images("test", "apbr"), "photo": images("photo", "eaepfg")}
    left, notices = without_copies(replace(data, tests=tests), hash_contents)
    assert {name: letters(each) for name, each in left.tests.items()} == {"test": "ab", "photo": "efg"}
    found = {copies.name: dict(copies.originals) for copies in notices if isinstance(copies, Copies)}
    assert found == {"test": {1: "train", 3: "val"}, "photo": {1: "test", 2: "photo", 3: "train"}}
    assert all(copies.left_out and not copies.learned for copies in notices if isinstance(copies, Copies))
    unchanged, none = without_copies(data, hash_contents)
    assert unchanged.tests == data.tests and none == []


def test_copies_among_training_and_validation_images_are_described_and_stay(data: StudyData) -> None:
    data = replace(data, train=images("train", "pqpp"), val=images("val", "rpq"))
    left, notices = without_copies(data, hash_contents)
    assert (letters(left.train), letters(left.val)) == ("pqpp", "rpq")
    found = [(copies.name, dict(copies.originals), copies.left_out) for copies in notices if isinstance(copies, Copies)]
    assert found == [("train", {2: "train", 3: "train"}, False), ("val", {1: "train", 2: "train"}, False)]
    assert "not left out" in str(notices[0]) and "train/0p" in str(notices[0])


def test_sets_beside_the_mean_may_hold_images_of_other_tests(data: StudyData) -> None:
    tests = {"test": images("test", "ab"), "again": images("again", "abpcc"), "photo": images("photo", "ce")}
    left, notices = without_copies(replace(data, tests=tests), hash_contents, ["again"])
    assert {name: letters(each) for name, each in left.tests.items()} == {"test": "ab", "again": "abc", "photo": "ce"}
    (copies,) = (copies for copies in notices if isinstance(copies, Copies))
    assert dict(copies.originals) == {2: "train", 4: "again"}
    tests["again"] = images("again", "ba")
    with pytest.raises(UserError, match=r"again .*test.*evaluate\.beside"):
        without_copies(replace(data, tests=tests), hash_contents)


def test_copies_with_other_labels_are_named_with_both_files_and_labels(data: StudyData) -> None:
    data = replace(
        data,
        train=images("train", "pqp", [0, 1, 2]),
        val=images("val", "rp", [0, 0]),
        tests={"test": images("test", "abab", [0, 1, 0, 2]), "photo": images("photo", "ae", [0, 1])},
    )
    names = data.labels.label_names
    conflicts = [notice for notice in without_copies(data, hash_contents)[1] if isinstance(notice, LabelConflict)]
    assert [(c.count, c.copy.key, c.copy.label, c.original.key, c.original.label) for c in conflicts] == [
        (1, "train/2p", names[2], "train/0p", names[0]),
        (1, "test/3b", names[2], "test/1b", names[1]),
    ]
    for conflict in conflicts:
        for file in (conflict.copy, conflict.original):
            assert f"{file.key} of {file.set_name}" in str(conflict) and file.label in str(conflict)
    assert "1 image of train" in str(conflicts[0])
    twice = replace(data, train=images("train", "pqpq", [0, 1, 2, 3]))
    conflict = next(n for n in without_copies(twice, hash_contents)[1] if isinstance(n, LabelConflict))
    assert conflict.count == 2 and "2 images of train" in str(conflict) and "train/2p" in str(conflict)
    again = replace(data, train=images("train", "p"), tests={"test": images("test", "ab", [0, 1])})
    again.tests["again"] = images("again", "ab", [3, 4])
    assert without_copies(again, hash_contents, ["again"])[1] != []  # val holds a training image
    assert not [n for n in without_copies(again, hash_contents, ["again"])[1] if isinstance(n, LabelConflict)]


def test_a_training_image_with_another_label_than_the_test_image_that_it_copies_is_named(data: StudyData) -> None:
    leak = images("own", "xaBc", [1, 1, 1, 0])
    _, notices = without_leaks(replace(data, generated=leak), hash_contents, near_copies)
    (conflict,) = (notice for notice in notices if isinstance(notice, LabelConflict))
    assert (conflict.count, conflict.copy.key, conflict.original.key) == (1, "own/1a", "test/0a")
    _, notices = without_leaks(replace(data, search_pool=leak), hash_contents, near_copies)
    assert not any(isinstance(notice, LabelConflict) for notice in notices), "its labels mean nothing"
    test = data.tests["test"]
    test.accepted = tuple((0, 1) for _ in range(len(test)))
    _, notices = without_leaks(replace(data, generated=leak), hash_contents, near_copies)
    assert not any(isinstance(notice, LabelConflict) for notice in notices), "both labels are right"


def test_copies_of_another_study_are_described(data: StudyData) -> None:
    copies = copies_of_tests("real of other", images("train", "aF"), data.tests, hash_contents, near_copies)
    assert copies is not None and (copies.name, copies.near, len(copies.originals)) == ("real of other", 1, 2)
    assert copies_of_tests("real", images("train", "xy"), data.tests, hash_contents, near_copies) is None
    exact = copies_of_tests("real", images("train", "xFa"), data.tests, hash_contents, lambda own, tests: None)
    assert exact is not None and dict(exact.originals) == {2: "test"}
    assert str(exact).startswith("1 of the 3 images of real is a copy of a test image (1 of test)")


def test_copies_of_withheld_images_are_not_searched(data: StudyData) -> None:
    data = replace(data, withheld=images("withheld", "uv"), search_pool=images("pool", "xuyv"))
    assert letters(without_withheld(data, hash_contents).search_pool) == "xy"
    assert without_withheld(replace(data, withheld=None), hash_contents).search_pool is data.search_pool
    with pytest.raises(UserError, match=r"pool .*data\.retrieved\.without"):
        without_withheld(replace(data, search_pool=images("pool", "uu")), hash_contents)


def test_images_without_labels_hold_no_labeled_image(data: StudyData) -> None:
    data = replace(data, unlabeled={"site": images("site", "xpys"), "other": images("other", "z")})
    left, notices = without_labeled_images(data, hash_contents)
    assert {name: letters(each) for name, each in left.unlabeled.items()} == {"site": "xy", "other": "z"}
    (copies,) = notices
    assert isinstance(copies, Copies) and dict(copies.originals) == {1: "train", 3: "val"}
    shifted = replace(data, retrieval=images("pool", "xv"), extra={"more": images("more", "z")})
    with pytest.raises(UserError, match=r"other .* of extra\.more: give data\.unlabeled\.other other images"):
        without_labeled_images(shifted, hash_contents)
    left, (copies,) = without_labeled_images(replace(shifted, extra={}), hash_contents)
    assert letters(left.unlabeled["site"]) == "y" and dict(copies.originals)[0] == "retrieval"
    searched = replace(data, search_pool=images("pool", "xy"))
    assert letters(without_labeled_images(searched, hash_contents)[0].unlabeled["site"]) == "xy", "without labels, too"
    with pytest.raises(UserError, match=r"site .*train"):
        without_labeled_images(replace(data, unlabeled={"site": images("site", "pq")}), hash_contents)


def test_files_are_hashed_by_their_contents() -> None:
    hashes = hash_contents(images("own", "aba"))
    assert hashes is not None
    assert [bytes(each).hex() for each in hashes] == [hashlib.sha256(letter.encode()).hexdigest() for letter in "aba"]
    pixels = MemoryImages("pixels", [np.zeros((4, 4, 3), dtype=np.uint8)], [0], ["a"])
    assert hash_contents(pixels) is None and hash_contents(images("none", "")) is None
