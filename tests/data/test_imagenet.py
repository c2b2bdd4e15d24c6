"""ImageNet and its shifted sets, in the layouts that users have them in, become one study."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genrobust.core.errors import UserError
from genrobust.data.folders import load_generated, read_classes
from genrobust.data.imagenet import open_set
from genrobust.data.imagenet_classes import listed_by_timm, wnids
from genrobust.data.load import load_data
from genrobust.recipe.data import DataConfig

# Three classes, with what their images are filled with; the fourth has no part in the study. All but tench are in
# ImageNet-R, goldfish being its first class.
COLOURS = {"n01443537": "red", "n02012849": "lime", "n01484850": "blue"}  # goldfish, crane bird, great white shark
OTHER = "n01440764"  # tench
IN_R = ("n01443537", "n01484850")

SaveJpeg = Callable[..., None]


@pytest.fixture
def root(tmp_path: Path, save_jpeg: SaveJpeg) -> Path:
    """ImageNet with train and val in class folders."""
    for wnid, colour in {**COLOURS, OTHER: "white"}.items():
        for number in range(10):
            save_jpeg(tmp_path / "imagenet" / "train" / wnid / f"{wnid}_{number}.JPEG", colour)
        for number in range(2):
            save_jpeg(tmp_path / "imagenet" / "val" / wnid / f"ILSVRC2012_val_{number}.JPEG", colour)
    (tmp_path / "classes.txt").write_text("\n".join(COLOURS))
    return tmp_path / "imagenet"


def config(root: Path, **keys: object) -> DataConfig:
    base = {"source": "imagenet", "root": root, "classes": str(root.parent / "classes.txt")}
    return DataConfig.model_validate(base | keys)


def all_classes(root: Path) -> DataConfig:
    return DataConfig(source="imagenet", root=root)


# --------------------------------------------------------------------------------------------- ImageNet


def test_imagenet_in_class_folders(root: Path) -> None:
    data = load_data(config(root))
    assert data.labels.ids == tuple(sorted(COLOURS))
    assert data.labels.names == ("goldfish", "great white shark", "crane bird")
    assert np.bincount(data.train.labels).tolist() == [9, 9, 9]
    assert np.bincount(data.val.labels).tolist() == [1, 1, 1]
    assert np.bincount(data.tests["test"].labels).tolist() == [2, 2, 2]
    assert not set(data.train.keys) & set(data.val.keys)
    assert data.clean == "test" and data.shifts == ()


def test_images_are_of_their_classes(root: Path) -> None:
    test = load_data(config(root)).tests["test"]
    channel = {0: 0, 1: 2, 2: 1}  # goldfish are red, sharks blue, cranes green
    for index, label in enumerate(test.labels.tolist()):
        assert np.asarray(test.image(index)).mean(axis=(0, 1)).argmax() == channel[label]


def test_train_and_test_can_lie_apart(root: Path) -> None:
    classes = str(root.parent / "classes.txt")
    apart = DataConfig(source="imagenet", train=root / "train", test=root / "val", classes=classes)
    assert load_data(apart).train.fingerprint == load_data(config(root)).train.fingerprint


def test_val_is_read_where_it_is_named(root: Path) -> None:
    data = load_data(config(root, val=root / "val"))
    assert (len(data.train), len(data.val)) == (30, 6)


def test_further_folders_are_read_where_they_are_named(root: Path) -> None:
    extra = load_data(config(root, extra={"deepaugment": root / "val"})).extra
    assert np.bincount(extra["deepaugment"].labels).tolist() == [2, 2, 2]  # without the class that is not studied


def flatten(val: Path) -> dict[str, str]:
    """Move the images of `val` out of their class folders, in another order; returns the class of each by its name."""
    truth: dict[str, str] = {}
    for path in sorted(val.rglob("*.JPEG"), key=lambda path: (path.name, path.parent.name), reverse=True):
        name = f"ILSVRC2012_val_{len(truth) + 1:08d}"
        truth[name] = path.parent.name
        path.rename(val / f"{name}.JPEG")
    for folder in [path for path in val.iterdir() if path.is_dir()]:
        folder.rmdir()
    return truth


def check_test_set(root: Path, truth: dict[str, str]) -> None:
    test = load_data(config(root)).tests["test"]
    ids = tuple(sorted(COLOURS))
    found = {key.removesuffix(".JPEG"): ids[label] for key, label in zip(test.keys, test.labels, strict=True)}
    assert found == {name: wnid for name, wnid in truth.items() if wnid != OTHER}


def test_flat_validation_images_get_their_classes(root: Path) -> None:
    truth = flatten(root / "val")
    (root / "synset_labels.txt").write_text("\n".join(truth.values()))
    check_test_set(root, truth)


def test_a_flat_folder_without_ground_truth_is_named(root: Path) -> None:
    flatten(root / "val")
    with pytest.raises(UserError, match="no file tells their classes"):
        load_data(config(root))


def test_kaggle_s_layout_is_found(root: Path) -> None:
    truth = flatten(root / "val")
    rows = [f"{name},{wnid} 1 2 3 4" for name, wnid in truth.items()]
    (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]))
    below = root / "ILSVRC" / "Data" / "CLS-LOC"
    below.mkdir(parents=True)
    for part in ("train", "val"):
        (root / part).rename(below / part)
    check_test_set(root, truth)


def test_a_root_without_a_known_layout_is_told_them(root: Path) -> None:
    (root / "train").rename(root / "training")
    with pytest.raises(UserError, match=r"has none of train and val, .*give data\.train and data\.test"):
        load_data(config(root))
    with pytest.raises(UserError, match="there is no folder"):
        load_data(all_classes(root / "nowhere"))


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_missing_class_is_named(root: Path, part: str) -> None:
    shutil.rmtree(root / part / "n02012849")
    with pytest.raises(UserError, match=rf"{part}: no image of 1 of the 3 classes .*: n02012849 \(label 134\)"):
        load_data(config(root))


def test_a_class_folder_without_images_is_named(root: Path) -> None:
    for path in (root / "train" / "n02012849").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"train: no image of 1 of the 3 classes .*n02012849"):
        load_data(config(root))


def test_other_numbers_of_validation_images_are_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_data(config(root))
    assert "3 classes have other than 50 images (2 of n01443537" in caplog.text


def test_a_folder_that_means_no_class_is_named(root: Path) -> None:
    (root / "train" / "n99999999").mkdir()
    with pytest.raises(UserError, match="mean no class of the training folder: n99999999"):
        load_data(config(root))


def test_generated_images_lie_in_folders_of_wordnet_ids(root: Path) -> None:
    generated = load_generated(config(root, generated=root / "val"))
    assert generated is not None
    assert list(generated.keys) == sorted(generated.keys)
    assert np.bincount(generated.labels).tolist() == [2, 2, 2]  # and the tench are left out


# --------------------------------------------------------------------------------------------- shifts


def test_v2_s_folders_are_numbers_and_not_text(tmp_path: Path, save_jpeg: SaveJpeg) -> None:
    for number in range(1000):
        save_jpeg(tmp_path / "v2" / str(number) / "a.jpeg")
    images = open_set("v2", tmp_path / "v2", "imagenet-v2", read_classes(all_classes(tmp_path)))
    assert [int(key.split("/")[0]) for key in images.keys] == images.labels.tolist()
    assert sorted(images.labels.tolist()) == list(range(1000))
    shutil.rmtree(tmp_path / "v2" / "10")
    with pytest.raises(UserError, match=r"v2: no image of 1 of the 1000 classes .*: n01530575 \(label 10\)"):
        open_set("v2", tmp_path / "v2", "imagenet-v2", read_classes(all_classes(tmp_path)))


def test_v2_of_a_subset(root: Path, save_jpeg: SaveJpeg, caplog: pytest.LogCaptureFixture) -> None:
    path = root.parent / "v2"
    for number in (0, 1, 2, 134):
        for image in range(10):
            save_jpeg(path / str(number) / f"{image}.jpeg")
    images = open_set("v2", path, "imagenet-v2", read_classes(config(root)))
    labels = {key.split("/")[0]: label for key, label in zip(images.keys, images.labels.tolist(), strict=True)}
    assert labels == {"1": 0, "2": 1, "134": 2}
    assert not caplog.records
    (path / "1" / "0.jpeg").unlink()
    open_set("v2", path, "imagenet-v2", read_classes(config(root)))
    assert "1 classes have other than 10 images (9 of n01443537)" in caplog.text


def test_a_number_beyond_the_classes_is_named(root: Path, save_jpeg: SaveJpeg) -> None:
    for number in (1, 2, 134, 1000):
        save_jpeg(root.parent / "v2" / str(number) / "0.jpeg")
    with pytest.raises(UserError, match="mean no class of the training folder: 1000"):
        load_data(config(root, shifts={"v2": {"kind": "imagenet-v2", "path": root.parent / "v2"}}))


def test_r_holds_its_own_classes_alone(root: Path, save_jpeg: SaveJpeg) -> None:
    path = root.parent / "r"
    for wnid in (*IN_R, "n01494475"):
        save_jpeg(path / wnid / "a.jpg")
    data = load_data(config(root, shifts={"r": {"kind": "imagenet-r", "path": path}}))
    assert sorted(data.tests["r"].labels.tolist()) == [0, 1]  # the crane is not in R, and not missing
    shutil.rmtree(path / IN_R[0])
    with pytest.raises(UserError, match=r"r: no image of 1 of the 2 classes that imagenet-r should hold"):
        load_data(config(root, shifts={"r": {"kind": "imagenet-r", "path": path}}))


def test_a_set_that_shares_no_class_is_named(root: Path, save_jpeg: SaveJpeg) -> None:
    assert not set(COLOURS) & set(listed_by_timm("imagenet_a"))
    save_jpeg(root.parent / "a" / "n01498041" / "a.jpg")
    with pytest.raises(UserError, match="imagenet-a shares no class with the 3"):
        load_data(config(root, shifts={"a": {"kind": "imagenet-a", "path": root.parent / "a"}}))


def test_other_numbers_of_r_are_told(tmp_path: Path, save_jpeg: SaveJpeg, caplog: pytest.LogCaptureFixture) -> None:
    for wnid in listed_by_timm("imagenet_r"):
        save_jpeg(tmp_path / "r" / wnid / "a.jpg")
    images = open_set("r", tmp_path / "r", "imagenet-r", read_classes(all_classes(tmp_path)))
    assert {wnids()[label] for label in images.labels} == set(listed_by_timm("imagenet_r"))
    assert "200 images instead of 30,000" in caplog.text


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ({}, {"c-fog-1": "lime", "c-fog-3": "red", "c-snow-3": "blue"}),
        ({"corruption": "fog"}, {"c-1": "lime", "c-3": "red"}),
        ({"severity": 3}, {"c-fog": "red", "c-snow": "blue"}),
        ({"corruption": "snow", "severity": 3}, {"c": "blue"}),
    ],
)
def test_c_is_a_set_for_each_corruption_and_severity(
    root: Path, save_jpeg: SaveJpeg, chosen: dict[str, object], names: dict[str, str]
) -> None:
    path = root.parent / "c"
    for where, colour in {"fog/1": "lime", "fog/3": "red", "snow/3": "blue"}.items():
        for wnid in COLOURS:
            save_jpeg(path / where / wnid / "a.JPEG", colour)
    data = load_data(config(root, shifts={"c": {"kind": "imagenet-c", "path": path, **chosen}}))
    channels = ("red", "lime", "blue")
    found = {name: np.asarray(data.tests[name].image(0)).mean(axis=(0, 1)).argmax() for name in data.shifts}
    assert {name: channels[channel] for name, channel in found.items()} == names


def test_a_corruption_that_is_not_there_is_named(root: Path) -> None:
    with pytest.raises(UserError, match=r"data\.shifts\.c: .* has no folder fog/5"):
        shift = {"kind": "imagenet-c", "path": root, "corruption": "fog", "severity": 5}
        load_data(config(root, shifts={"c": shift}))


def test_a_shift_of_one_s_own_names_classes_in_words(root: Path, save_jpeg: SaveJpeg) -> None:
    path = root.parent / "mine"
    for folder in ("goldfish", "White Shark", "tench, Tinca tinca"):
        save_jpeg(path / folder / "a.png")
    data = load_data(config(root, shifts={"mine": path}, same_class={"White Shark": "n01484850"}))
    assert sorted(data.tests["mine"].labels.tolist()) == [0, 1]


def test_two_shifts_of_one_name_are_refused(root: Path, save_jpeg: SaveJpeg) -> None:
    for wnid in COLOURS:
        save_jpeg(root.parent / "c" / "fog" / "3" / wnid / "a.JPEG")
    shifts = {"c-fog-3": root / "val", "c": {"kind": "imagenet-c", "path": root.parent / "c"}}
    with pytest.raises(UserError, match="two test sets are called 'c-fog-3'"):
        load_data(config(root, shifts=shifts))
    with pytest.raises(UserError, match="the name test"):
        load_data(config(root, shifts={"test": root / "val"}))


# --------------------------------------------------------------------------------------------- recipes


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"source": "imagenet", "train": "a", "val": "b"}, "test is the folder of ImageNet's validation images"),
        ({"source": "folders", "train": "a", "test": "b", "root": "c"}, "root: what it says belongs to"),
        ({"source": "folders", "train": "a", "test": "b", "classes": "imagenet100"}, "classes: what it says belongs"),
        ({"source": "folders", "train": "a", "test": "b", "class_names": "openai"}, "class_names: what it says"),
        (
            {"source": "folders", "train": "a", "test": "b", "shifts": {"r": {"kind": "imagenet-r", "path": "c"}}},
            r"shifts\.r\.kind: what it says belongs to source: imagenet",
        ),
        ({"source": "imagenet", "root": "a", "class_names": "opnai"}, "'opnai' is no list of names"),
        ({"source": "imagenet", "root": "a", "shifts": {"r": {"kind": "imagenet-q", "path": "c"}}}, "imagenet-sketch"),
        ({"source": "imagenet", "root": "a", "shifts": {"r": {"kind": "imagenet-r"}}}, "path"),
        ({"source": "imagenet", "root": "a", "shifts": {"r": {"path": "c", "map": "paper"}}}, "map belongs to kind"),
        ({"source": "imagenet", "root": "a", "shifts": {"r": {"path": "c", "severity": 3}}}, "severity belong to kind"),
        (
            {"source": "imagenet", "root": "a", "shifts": {"c": {"kind": "imagenet-c", "path": "c", "severity": 6}}},
            "less than or equal to 5",
        ),
    ],
)
def test_what_does_not_fit_in_a_recipe_is_named(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DataConfig.model_validate(keys)


def test_a_path_alone_is_a_shift_in_folders() -> None:
    read = DataConfig.model_validate({"source": "folders", "train": "a", "test": "b", "shifts": {"s": "sketch"}})
    assert (read.shifts["s"].kind, read.shifts["s"].path) == ("folders", Path("sketch"))
    assert DataConfig.model_validate(read.model_dump(mode="json")) == read
