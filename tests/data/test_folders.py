"""Image folders become a study, or an error that names the folder, the file or the class."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from genrobust.core.errors import UserError
from genrobust.data.folders import load_generated, read_classes
from genrobust.data.load import load_data
from genrobust.recipe.data import DataConfig


def config(photos: Path, **more: object) -> DataConfig:
    return DataConfig.model_validate({"source": "folders", "train": photos / "train", "test": photos / "test"} | more)


def test_classes_come_from_the_training_folders(photos: Path) -> None:
    labels = load_data(config(photos, class_names={"Clock": "wall clock"})).labels
    assert labels.ids == ("clock", "camera", "shopping_bag")
    assert labels.names == ("wall clock", "camera", "shopping bag")


def test_wnids_stay_as_they_are(photos: Path) -> None:
    (photos / "train" / "camera").rename(photos / "train" / "n02942699")
    labels = read_classes(config(photos)).labels
    assert labels.ids[1] == labels.names[1] == "n02942699"


def test_without_val_a_tenth_of_each_class_is_held_back(photos: Path) -> None:
    data = load_data(config(photos))
    assert np.bincount(data.val.labels).tolist() == [1, 1, 1]
    assert np.bincount(data.train.labels).tolist() == [11, 11, 11]
    assert not set(data.val.keys) & set(data.train.keys)
    again = load_data(config(photos))
    assert again.val.keys == data.val.keys and again.val.fingerprint == data.val.fingerprint


def test_with_val_all_of_train_trains(photos: Path) -> None:
    shutil.copytree(photos / "test", photos / "val")
    data = load_data(config(photos, val=photos / "val"))
    assert (len(data.train), len(data.val)) == (36, 9)


def test_images_belong_to_their_labels(photos: Path) -> None:
    data = load_data(config(photos))
    folders = ("Clock", "camera", "shopping_bag")
    for index, (key, label) in enumerate(zip(data.train.keys, data.train.labels, strict=True)):
        assert key.startswith(folders[label] + "/")
        assert data.train.image(index).size == (64, 64)


def test_a_shift_maps_by_name_and_by_same_class(photos: Path) -> None:
    shift = photos / "sketch"
    shutil.copytree(photos / "test" / "camera", shift / "photo camera")
    shutil.copytree(photos / "test" / "shopping_bag", shift / "Shopping Bag")
    data = load_data(config(photos, shifts={"sketch": shift}, same_class={"photo camera": "camera"}))
    assert data.shifts == ("sketch",)
    sketch = data.tests["sketch"]
    labels = {key.split("/")[0]: label for key, label in zip(sketch.keys, sketch.labels, strict=True)}
    assert labels == {"photo camera": 1, "Shopping Bag": 2}  # and a class that the shift lacks is no error


def test_an_unmapped_folder_is_named_with_near_names(photos: Path) -> None:
    (photos / "test" / "camera").rename(photos / "test" / "cameras")
    with pytest.raises(UserError, match=r"test: .*cameras \(perhaps camera\?\).*same_class"):
        load_data(config(photos))


def test_a_folder_can_be_left_out(photos: Path) -> None:
    (photos / "test" / "camera").rename(photos / "test" / "unicorn")
    data = load_data(config(photos, same_class={"unicorn": ""}))
    assert set(data.tests["test"].labels.tolist()) == {0, 2}


def test_same_class_must_name_a_training_folder(photos: Path) -> None:
    with pytest.raises(UserError, match=r"same_class: x: no training folder 'clok' \(perhaps Clock\?\)"):
        load_data(config(photos, same_class={"x": "clok"}))


def test_class_names_must_name_a_training_folder(photos: Path) -> None:
    with pytest.raises(UserError, match=r"class_names: .*'clok' \(perhaps Clock\?\)"):
        load_data(config(photos, class_names={"clok": "clock"}))


def test_an_ambiguous_name_means_no_class(photos: Path) -> None:
    shutil.copytree(photos / "train" / "camera", photos / "train" / "shopping-bag")
    with pytest.raises(UserError, match="share the prompt 'shopping bag'"):
        load_data(config(photos))
    classes = read_classes(config(photos, class_names={"shopping-bag": "paper bag"}))
    assert classes.match("Shopping Bag") is None
    assert classes.match("shopping_bag") == classes.folders.index("shopping_bag")


def test_generated_images_keep_the_order_of_their_names(photos: Path) -> None:
    generated = load_generated(config(photos, generated=photos / "train"))
    assert generated is not None
    assert list(generated.keys) == sorted(generated.keys)
    assert load_generated(config(photos)) is None


def test_retrieved_images_are_opened(photos: Path) -> None:
    retrieved = load_data(config(photos, retrieved=photos / "test")).retrieval
    assert retrieved is not None and len(retrieved) == 9


def test_further_folders_are_opened_by_their_names(photos: Path) -> None:
    data = load_data(config(photos, extra={"deepaugment": photos / "test", "more": photos / "train"}))
    assert {name: (images.name, len(images)) for name, images in data.extra.items()} == {
        "deepaugment": ("deepaugment", 9),
        "more": ("more", len(data.train) + len(data.val)),
    }
    with pytest.raises(UserError, match="nowhere"):
        load_data(config(photos, extra={"deepaugment": photos / "nowhere"}))


def test_a_changed_image_changes_the_fingerprint(photos: Path) -> None:
    before = load_data(config(photos)).tests["test"].fingerprint
    shutil.copy(photos / "train" / "camera" / "05.png", photos / "test" / "camera" / "00.png")
    assert load_data(config(photos)).tests["test"].fingerprint != before


def test_a_class_without_images_is_named(photos: Path) -> None:
    (photos / "train" / "teapot").mkdir()
    with pytest.raises(UserError, match="teapot holds no image"):
        load_data(config(photos))


@pytest.mark.parametrize("make", [lambda f: f.mkdir(), lambda f: None], ids=["empty", "missing"])
def test_an_empty_or_missing_folder_is_named(photos: Path, make: object) -> None:
    assert callable(make)
    make(photos / "night")
    with pytest.raises(UserError, match="night"):
        load_data(config(photos, shifts={"night": photos / "night"}))


def test_a_file_for_a_folder_is_named(photos: Path) -> None:
    (photos / "night").write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot read the folder .*night: Not a directory"):
        load_data(config(photos, shifts={"night": photos / "night"}))


def test_images_outside_of_class_folders_are_refused(photos: Path) -> None:
    shutil.copy(photos / "train" / "camera" / "05.png", photos / "train" / "stray.png")
    with pytest.raises(UserError, match=r"stray\.png: put each class into a subfolder"):
        load_data(config(photos))


def test_a_zero_byte_image_is_found_when_the_folder_is_opened(photos: Path) -> None:
    (photos / "train" / "camera" / "05.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"camera/05\.png: it is empty"):
        load_data(config(photos))


def test_a_damaged_image_is_found_when_it_is_decoded(photos: Path) -> None:
    (photos / "test" / "camera" / "01.png").write_text("not a picture")
    test = load_data(config(photos)).tests["test"]
    with pytest.raises(UserError, match=r"camera/01\.png: it is no image"):
        test.image(list(test.keys).index("camera/01.png"))


def test_one_image_a_class_leaves_none_to_hold_back(photos: Path) -> None:
    for path in (photos / "train").rglob("*.png"):
        if path.name != "00.png":
            path.unlink()
    with pytest.raises(UserError, match=r"data\.val"):
        load_data(config(photos))


def test_a_shift_may_not_be_called_test(photos: Path) -> None:
    with pytest.raises(UserError, match="the name test"):
        load_data(config(photos, shifts={"test": photos / "test"}))
