"""A study of some classes is one of which the source has no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genrobust.core import StudyData, UserError
from genrobust.data import load_data
from genrobust.recipe import DataConfig

NAMES = ["clock", "camera"]


def load(**keys: Any) -> StudyData:
    return load_data(DataConfig.model_validate(keys))


def test_all_sets_of_pictograms_follow(pictogram_data: StudyData) -> None:
    data = load(classes=NAMES)
    assert data.labels.ids == ("camera", "clock")  # in the order of the source
    whole = {**pictogram_data.learned, **pictogram_data.tests}
    for name, images in {**data.learned, **data.tests}.items():
        old = [whole[name].keys.index(key) for key in images.keys]
        shown = [pictogram_data.labels.ids[label] for label in whole[name].labels[old]]
        assert [data.labels.ids[label] for label in images.labels] == shown
        assert len(images) == np.isin(whole[name].labels, [pictogram_data.labels.ids.index(n) for n in NAMES]).sum()


def test_a_shifted_validation_set_without_these_classes_is_left_out(pictogram_data: StudyData) -> None:
    assert pictogram_data.shifted_val is not None
    counts = np.bincount(pictogram_data.shifted_val.labels, minlength=len(pictogram_data.labels))
    without_images = [pictogram_data.labels.ids[label] for label in np.flatnonzero(counts == 0)[:2]]
    data = load(classes=without_images)
    assert data.shifted_val is None and pictogram_data.shifted_val.name in " ".join(data.notices)


def test_fewer_classes_of_a_seed_are_a_part_of_more() -> None:
    few, more, other = ({*load(classes=c).labels.ids} for c in ({"count": 5}, {"count": 9}, {"count": 5, "seed": 1}))
    assert few < more and (len(few), len(more)) == (5, 9) and other != few


def test_folders_of_other_classes_count_for_nothing_wherever_they_lie(
    photos: Path, write_folder: Callable[..., Path], tmp_path: Path
) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("# mine\nClock\nshopping bag # by its name\n")
    shift = write_folder("solid", "solid", 2, {"CAMERA": "camera", "clock": "clock"})  # as others spell them
    sets = {"train": photos / "train", "test": photos / "test", "shifts": {"solid": shift}}
    data, whole = load(source="folders", classes=str(file), **sets), load(source="folders", **sets)
    assert data.labels.label_names == ("Clock", "shopping_bag")
    assert {name: len(images) for name, images in data.tests.items()} == {"test": 6, "solid": 2}
    assert {*data.val.keys} == {key for key in whole.val.keys if not key.startswith("camera")}
    (photos / "test" / "Clock").rename(photos / "test" / "watch")  # which no other set has
    assert len(load(source="folders", classes=["Clock", "camera"], same_class={"watch": "Clock"}, **sets).tests) == 2


def test_a_folder_of_the_study_stays_where_a_class_outside_is_shown_under_its_name(
    photos: Path, write_folder: Callable[..., Path]
) -> None:
    shift = write_folder("solid", "solid", 2, {"camera": "camera", "Clock": "clock"})
    sets = {"train": photos / "train", "test": photos / "test", "shifts": {"solid": shift}}
    shown = {"camera": "camera on a tripod", "shopping_bag": "camera"}
    data = load(source="folders", classes=["camera", "Clock"], class_names=shown, **sets)
    assert np.bincount(data.tests["solid"].labels).tolist() == [2, 2]


def test_a_style_of_other_classes_alone_counts_for_nothing(photos: Path, write_folder: Callable[..., Path]) -> None:
    write_folder("others/ink", "solid", 2, {"camera": "camera"})
    others = write_folder("others/oil", "emoji", 2, {"camera": "camera", "Clock": "clock"}).parent
    sets = {"train": photos / "train", "test": photos / "test", "retrieved": others}
    pool = load(source="folders", classes=["Clock", "shopping_bag"], **sets).retrieval
    assert pool is not None and {*pool.styles} == {"oil"} and len(pool) == 2


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (["clock", "cammera"], "no class 'cammera'.*perhaps camera"),
        (["clock", "Clock"], "clock is listed before"),
        ({"count": 101}, "count: there are 100 classes, not 101"),
        ("cameras", "there is no file cameras"),
        (["clock"], "two classes or more"),
    ],
)
def test_a_wrong_choice_names_the_key(classes: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load(classes=classes)


def test_imagenet_takes_lists_and_samples() -> None:
    def ids(classes: Any) -> tuple[str, ...]:
        return DataConfig.model_validate({"source": "imagenet", "root": "x", "classes": classes}).known_labels().ids

    assert ids(["134", "n01440764"]) == ("n01440764", "n02012849")
    assert {*ids({"count": 10})} < {*ids({"count": 20})}
