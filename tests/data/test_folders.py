"""Image folders become a study, or an error that names the folder, the file or the class."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genrobust.core import UserError, fair_order
from genrobust.data import MemoryImages, classes_of, load_data, open_stored
from genrobust.data.held_out import hold_back
from genrobust.data.shard_files import is_key
from genrobust.recipe import DataConfig


def config(photos: Path, **more: object) -> DataConfig:
    return DataConfig.model_validate({"source": "folders", "train": photos / "train", "test": photos / "test"} | more)


def test_classes_come_from_the_training_folders(photos: Path) -> None:
    labels = load_data(config(photos, class_names={"Clock": "wall clock"})).labels
    assert labels.ids == ("clock", "camera", "shopping_bag")
    assert labels.names == ("wall clock", "camera", "shopping bag")
    (photos / "train" / "camera").rename(photos / "train" / "n02942699")
    labels = classes_of(open_stored(photos / "train")).labels
    assert labels.ids[1] == labels.names[1] == "n02942699"


def test_without_val_a_tenth_of_each_class_is_held_back(photos: Path) -> None:
    data, again = load_data(config(photos)), load_data(config(photos))
    assert np.bincount(data.val.labels).tolist() == [1, 1, 1]
    assert np.bincount(data.train.labels).tolist() == [11, 11, 11]
    assert not set(data.val.keys) & set(data.train.keys)
    assert again.val.keys == data.val.keys and again.val.fingerprint == data.val.fingerprint
    folders = ("Clock", "camera", "shopping_bag")
    for index, (key, label) in enumerate(zip(data.train.keys, data.train.labels, strict=True)):
        assert key.startswith(folders[label] + "/")
        assert data.train.image(index).size == (64, 64)


@pytest.mark.parametrize(("share", "held"), [(0, 0), (0.01, 1), (0.25, 3)])
def test_another_share_is_held_back(photos: Path, share: float, held: int) -> None:
    data = load_data(config(photos, held_out=share))
    assert np.bincount(data.train.labels).tolist() == [12 - held] * 3
    assert len(data.val) == 3 * held and not set(data.val.keys) & set(data.train.keys)


def test_images_that_belong_together_are_held_back_together(photos: Path) -> None:
    for path in sorted((photos / "train").glob("*/*")):
        path.rename(path.with_name(f"{'ab'[len(path.stem) % 2]}{hash_of(path.name) % 4}_{path.name}"))
    data = load_data(config(photos, held_out=0.3, groups_apart={"pattern": r"(\w\d)_[^/]*$"}))
    names = [{key.split("/")[-1].split("_")[0] for key in images.keys} for images in (data.train, data.val)]
    assert all(names) and not names[0] & names[1]
    assert len(data.train) + len(data.val) == 36


def test_a_rule_that_keeps_each_class_together_is_named(photos: Path) -> None:
    with pytest.raises(UserError, match=r"none of train can be held back .* or one group of images"):
        load_data(config(photos, groups_apart={"pattern": "^([^/]+)/"}))


def test_where_groups_were_held_back_the_first_images_of_the_rest_are_of_all_styles() -> None:
    styles = np.array(["sketch", "painting"] * 200)
    keys = [f"{i:03d}" for i in range(400)]
    images = MemoryImages("some", [b"x"] * 400, [0] * 400, keys, styles.tolist())
    photos = np.random.default_rng(0).integers(20, size=400)  # ten drawings of each
    drawn = [f"photo {photo}" if style == "sketch" else None for photo, style in zip(photos, styles, strict=True)]
    rest, held = hold_back(images, 0.5, drawn)
    for part in (rest, held):
        first = [part.styles[i] for i in fair_order(part)[: len(part) // 4]]
        share = sum(style == "sketch" for style in part.styles) / len(part)
        assert first.count("sketch") / len(first) == pytest.approx(share, abs=0.02)


def test_a_class_that_belongs_to_another_one_s_groups_is_not_held_back_whole() -> None:
    """Two patients with an image of each class, and four with healthy ones alone."""
    labels, patients = [0, 0, 0, 0, 0, 0, 1, 1], ["a", "b", "c", "d", "e", "f", "a", "b"]
    images = MemoryImages("scans", [b"x"] * 8, labels, [f"{i}.png" for i in range(8)])
    train, val = hold_back(images, 0.5, patients)
    assert [np.bincount(part.labels).tolist() for part in (train, val)] == [[4, 1], [2, 1]]
    sides = [{patients[int(key[0])] for key in part.keys} for part in (train, val)]
    assert not sides[0] & sides[1]


@pytest.mark.parametrize(
    ("sizes", "share", "held"),
    [([80] + [1] * 20, 0.1, 10), ([60, 30, 5, 5], 0.1, 10), ([60, 30, 5, 5], 0.5, 40), ([60, 40], 0.1, 40)],
    ids=str,
)
def test_a_large_group_is_held_back_where_smaller_ones_do_not_suffice(
    sizes: list[int], share: float, held: int
) -> None:
    groups = [f"group {number}" for number, size in enumerate(sizes) for _ in range(size)]
    images = MemoryImages("some", [b"x"] * len(groups), [0] * len(groups), [f"{i}" for i in range(len(groups))])
    train, val = hold_back(images, share, groups)
    assert len(val) == held
    assert not {groups[int(key)] for key in train.keys} & {groups[int(key)] for key in val.keys}


def hash_of(name: str) -> int:
    return hashlib.sha256(name.encode()).digest()[0]


def test_other_sets_are_opened_where_they_are_named(photos: Path) -> None:
    val, other = (shutil.copytree(photos / "test", photos / name) for name in ("val", "other"))
    extra = {"deepaugment": other, "more": photos / "train"}
    data = load_data(config(photos, val=val, retrieved=other, extra=extra))
    assert data.retrieval is not None
    assert (len(data.train), len(data.val), len(data.retrieval)) == (36, 9, 9)
    assert [(s.name, len(s)) for s in data.extra.values()] == [("deepaugment", 9), ("more", 36)]
    generated = load_data(config(photos, generated=photos / "train")).generated
    assert generated is not None and list(generated.keys) == sorted(generated.keys)
    assert data.generated is None


def test_a_shift_maps_by_name_and_by_same_class(photos: Path) -> None:
    shift = photos / "sketch"
    shutil.copytree(photos / "test" / "camera", shift / "photo camera")
    shutil.copytree(photos / "test" / "camera", shift / "unicorn")
    shutil.copytree(photos / "test" / "shopping_bag", shift / "Shopping Bag")
    same_class = {"photo camera": "camera", "unicorn": ""}
    data = load_data(config(photos, shifts={"sketch": shift}, same_class=same_class))
    assert data.shifts == ("sketch",)
    sketch = data.tests["sketch"]
    labels = {key.split("/")[0]: label for key, label in zip(sketch.keys, sketch.labels, strict=True)}
    assert labels == {"photo camera": 1, "Shopping Bag": 2}  # and a class that the shift lacks is no error


def test_an_ambiguous_name_means_no_class(photos: Path) -> None:
    shutil.copytree(photos / "train" / "camera", photos / "train" / "shopping-bag")
    with pytest.raises(UserError, match=r"'shopping-bag' and 'shopping_bag'.*data\.class_names"):
        load_data(config(photos))
    classes = classes_of(open_stored(photos / "train"), {"shopping-bag": "paper bag"})
    assert classes.match("Shopping Bag") is None
    assert classes.match("shopping_bag") == classes.folders.index("shopping_bag")


def test_a_changed_image_changes_the_fingerprint(photos: Path) -> None:
    before = load_data(config(photos)).tests["test"].fingerprint
    shutil.copy(photos / "train" / "camera" / "5.png", photos / "test" / "camera" / "0.png")
    assert load_data(config(photos)).tests["test"].fingerprint != before


@pytest.mark.parametrize(
    ("spoil", "keys", "said"),
    [
        (lambda p: (p / "test/camera").rename(p / "test/cameras"), {}, r"test: .*\(perhaps camera\?\).*same_class"),
        (None, {"same_class": {"x": "clok"}}, r"same_class: x: no training folder 'clok' \(perhaps Clock\?\)"),
        (None, {"same_class": {"camera": "Clock"}}, "same_class: camera is a training folder"),
        (None, {"same_class": {"camera": ""}}, "same_class: camera is a training folder"),
        (None, {"same_class": {"cam": "camera", "watch": ""}}, r"same_class: .*folder or label cam, watch"),
        (None, {"shifts": {"night": "night"}}, r"data\.shifts\.night.*: there is no .*night"),
        (
            lambda p: shutil.copytree(p / "train/camera", p / "train/camera -"),
            {},
            "the classes 'camera' and 'camera -' .* rename one",
        ),
        (lambda p: (p / "train/stray.png").touch(), {}, r"stray\.png: put each class into a subfolder"),
        (lambda p: [f.unlink() for f in (p / "train").rglob("*.png") if f.name != "0.png"], {}, r"data\.val"),
        (
            lambda p: shutil.copytree(p / "test/Clock", p / "test/c lock"),
            {},
            "and 'c lock' both mean the class",
        ),
    ],
)
def test_what_is_wrong_is_named(
    photos: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], Any] | None, keys: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(photos)
    if spoil:
        spoil(photos)
    with pytest.raises(UserError, match=said):
        load_data(config(photos, **keys))


def test_names_that_differ_by_punctuation_alone_are_classes_of_their_own(photos: Path) -> None:
    for old, new in (("camera", "c"), ("Clock", "C++")):
        for part in ("train", "test"):
            (photos / part / old).rename(photos / part / new)
    classes = classes_of(open_stored(photos / "train"))
    assert classes.folders == ("C++", "c", "shopping_bag") and classes.labels.names == ("C++", "c", "shopping bag")
    assert classes.labels.ids[1:] == ("c", "shopping_bag") and classes.labels.ids[0].startswith("c-")
    assert classes.labels.label_names == classes.folders and all(map(is_key, classes.labels.ids))
    assert [classes.match(name) for name in ("C++", "c", "Shopping-Bag", "C#")] == [0, 1, 2, None]
