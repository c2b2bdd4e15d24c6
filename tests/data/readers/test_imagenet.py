"""ImageNet and its shifted sets, in the layouts that users have them in, become one study."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genrobust.core import ImageSet, UserError
from genrobust.data import load_data
from genrobust.data.imagenet_classes import listed_by_timm, wnids
from genrobust.recipe import DataConfig, ImagesConfig

# Three classes, with what their images are filled with; the fourth has no part in the study. All but tench are in
# ImageNet-R, goldfish being its first class.
COLORS = {"n01443537": "red", "n02012849": "lime", "n01484850": "blue"}  # goldfish, crane bird, great white shark
OTHER = "n01440764"  # tench
IN_R = ("n01443537", "n01484850")
CHANNELS = ("red", "lime", "blue")

SaveJpeg, SaveSet = Callable[..., None], Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, save_jpeg: SaveJpeg) -> Path:
    """ImageNet with train and val in class folders."""
    for wnid, color in {**COLORS, OTHER: "white"}.items():
        for number in range(10):
            save_jpeg(tmp_path / "imagenet" / "train" / wnid / f"{wnid}_{number}.JPEG", color)
        for number in range(2):
            save_jpeg(tmp_path / "imagenet" / "val" / wnid / f"ILSVRC2012_val_{number}.JPEG", color)
    (tmp_path / "classes.txt").write_text("\n".join(COLORS))
    return tmp_path / "imagenet"


@pytest.fixture
def save_set(tmp_path: Path, save_jpeg: SaveJpeg) -> Callable[..., Path]:
    """Writes a set of one image, or `each`, in every folder."""

    def save(name: str, folders: Iterable[object], each: int = 1, color: str = "red") -> Path:
        for folder in folders:
            for number in range(each):
                save_jpeg(tmp_path / name / str(folder) / f"{number}.jpg", color)
        return tmp_path / name

    return save


def config(root: Path, **keys: object) -> DataConfig:
    base = {"source": "imagenet", "root": root, "classes": str(root.parent / "classes.txt")}
    return DataConfig.model_validate(base | keys)


def read(kind: str, path: Path, of: DataConfig, **keys: object) -> ImageSet:
    shift = ImagesConfig.model_validate({"kind": kind, "path": path, **keys})
    (images,) = shift.open("mine", of.folder_classes(), {}).values()
    return images


def whole(path: Path) -> DataConfig:
    return DataConfig(source="imagenet", root=path)


def test_imagenet_in_class_folders(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = load_data(config(root))
    assert data.labels.ids == tuple(sorted(COLORS))
    assert data.labels.names == ("goldfish", "great white shark", "crane bird")
    sets = (data.train, data.val, data.tests["test"])
    assert [np.bincount(images.labels).tolist() for images in sets] == [[9] * 3, [1] * 3, [2] * 3]
    assert not set(data.train.keys) & set(data.val.keys)
    assert data.clean == "test" and data.shifts == ()
    assert "3 classes have other than 50 images (2 of n01443537" in caplog.text
    for index, label in enumerate(data.tests["test"].labels.tolist()):
        channel = np.asarray(data.tests["test"].image(index)).mean(axis=(0, 1)).argmax()
        assert CHANNELS[channel] == COLORS[data.labels.ids[label]]


def test_each_part_can_be_named_on_its_own(root: Path) -> None:
    apart = DataConfig(source="imagenet", train=root / "train", test=root / "val", classes=config(root).classes)
    assert load_data(apart).train.fingerprint == load_data(config(root)).train.fingerprint
    copy = shutil.copytree(root / "val", root / "copy")
    data = load_data(config(root, val=copy, retrieved=root / "val", extra={"deepaugment": root / "val"}))
    assert (len(data.train), len(data.val)) == (30, 6)
    assert data.retrieval is not None and len(data.retrieval) == 6
    assert np.bincount(data.extra["deepaugment"].labels).tolist() == [2, 2, 2]  # without the class not studied
    generated = load_data(config(root, generated=root / "val")).generated
    assert generated is not None and list(generated.keys) == sorted(generated.keys)
    assert np.bincount(generated.labels).tolist() == [2, 2, 2]


def test_flat_validation_images_of_kaggle_get_their_classes(root: Path) -> None:
    val, truth = root / "val", {}
    for path in sorted(val.rglob("*.JPEG"), key=lambda path: (path.name, path.parent.name), reverse=True):
        name = f"ILSVRC2012_val_{len(truth) + 1:08d}"
        truth[name] = path.parent.name
        path.rename(val / f"{name}.JPEG")
    for folder in [path for path in val.iterdir() if path.is_dir()]:
        folder.rmdir()
    rows = [f"{name},{wnid} 1 2 3 4" for name, wnid in truth.items()]
    (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]))
    (root / "ILSVRC" / "Data" / "CLS-LOC").mkdir(parents=True)
    for part in ("train", "val"):
        (root / part).rename(root / "ILSVRC" / "Data" / "CLS-LOC" / part)
    data = load_data(config(root))
    test = data.tests["test"]
    found = {k.removesuffix(".JPEG"): data.labels.ids[n] for k, n in zip(test.keys, test.labels, strict=True)}
    assert found == {name: wnid for name, wnid in truth.items() if wnid != OTHER}


def remove_images(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda r: (r / "train").rename(r / "x"), r"has none of train and val, .*give data\.train and data\.test"),
        (shutil.rmtree, r"data\.root: there is no "),
        (lambda r: shutil.rmtree(r / "train/n02012849"), r"train: no image of 1 of the 3 .*n02012849 \(label 134"),
        (lambda r: shutil.rmtree(r / "val/n02012849"), r"val: no image of 1 of the 3 classes .*n02012849"),
        (lambda r: remove_images(r / "train/n02012849"), r"train: no image of 1 of the 3 classes .*n02012849"),
        (lambda r: (r / "train/n99999999").mkdir(), "mean no class of the training folder: n99999999"),
    ],
)
def test_what_is_wrong_with_the_folders_is_named(root: Path, spoil: Callable[[Path], Any], said: str) -> None:
    spoil(root)
    with pytest.raises(UserError, match=said):
        load_data(config(root))


def test_v2_s_folders_are_numbers_and_not_text(tmp_path: Path, save_set: SaveSet) -> None:
    path = save_set("v2", range(1000))
    images = read("imagenet-v2", path, whole(tmp_path))
    assert [int(key.split("/")[0]) for key in images.keys] == images.labels.tolist()
    assert sorted(images.labels.tolist()) == list(range(1000))
    shutil.rmtree(path / "10")
    with pytest.raises(UserError, match=r"v2: no image of 1 of the 1000 classes .*: n01530575 \(label 10\)"):
        read("imagenet-v2", path, whole(tmp_path))


def test_v2_of_a_subset(root: Path, save_set: SaveSet, caplog: pytest.LogCaptureFixture) -> None:
    path = save_set("v2", (0, 1, 2, 134), each=10)
    images = read("imagenet-v2", path, config(root))
    labels = {key.split("/")[0]: label for key, label in zip(images.keys, images.labels.tolist(), strict=True)}
    assert labels == {"1": 0, "2": 1, "134": 2}
    assert not caplog.records
    (path / "1" / "0.jpg").unlink()
    read("imagenet-v2", path, config(root))
    assert "1 classes have other than 10 images (9 of n01443537)" in caplog.text
    save_set("v2", [1000])
    with pytest.raises(UserError, match="mean no class of the training folder: 1000"):
        read("imagenet-v2", path, config(root))


def test_r_holds_its_own_classes_alone(root: Path, save_set: SaveSet, caplog: pytest.LogCaptureFixture) -> None:
    path = save_set("r", listed_by_timm("imagenet_r"))
    images = read("imagenet-r", path, whole(root))
    assert {wnids()[label] for label in images.labels} == set(listed_by_timm("imagenet_r"))
    assert "200 images instead of 30,000" in caplog.text
    assert sorted(read("imagenet-r", path, config(root)).labels.tolist()) == [0, 1]  # the crane is not in R
    shutil.rmtree(path / IN_R[0])
    with pytest.raises(UserError, match=r"r: no image of 1 of the 2 classes that imagenet-r should hold"):
        read("imagenet-r", path, config(root))
    with pytest.raises(UserError, match="imagenet-a shares no class with the 3"):
        read("imagenet-a", save_set("a", ["n01498041"]), config(root))


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
    root: Path, save_set: SaveSet, chosen: dict[str, object], names: dict[str, str]
) -> None:
    for where, color in {"fog/1": "lime", "fog/3": "red", "snow/3": "blue"}.items():
        save_set(f"c/{where}", COLORS, color=color)
    data = load_data(config(root, shifts={"c": {"kind": "imagenet-c", "path": root.parent / "c", **chosen}}))
    found = {name: np.asarray(data.tests[name].image(0)).mean(axis=(0, 1)).argmax() for name in data.shifts}
    assert {name: CHANNELS[channel] for name, channel in found.items()} == names
    assert len({tuple(data.tests[name].pictures or ()) for name in data.shifts}) == 1, "the same pictures in all"
    assert data.derived == data.shifts


def test_a_shift_of_one_s_own_names_classes_in_words(root: Path, save_set: SaveSet) -> None:
    path = save_set("mine", ("goldfish", "White Shark", "tench, Tinca tinca"))
    data = load_data(config(root, shifts={"mine": path}, same_class={"White Shark": "n01484850"}))
    assert sorted(data.tests["mine"].labels.tolist()) == [0, 1]


def test_numbers_that_may_count_the_classes_of_the_study_are_refused(root: Path, save_set: SaveSet) -> None:
    whole = load_data(config(root, shifts={"mine": save_set("imagenet's", (1, 2, 134))}))  # one is beyond the study's
    assert sorted(whole.tests["mine"].labels.tolist()) == [0, 1, 2]
    shifts = {"mine": save_set("mine", range(3))}
    with pytest.raises(UserError, match=r"mine: the numbers 0, 1, 2 may count .* 3 of data\.classes"):
        load_data(config(root, shifts=shifts))
    said = dict(zip("012", sorted(COLORS), strict=True))
    assert sorted(load_data(config(root, shifts=shifts, same_class=said)).tests["mine"].labels.tolist()) == [0, 1, 2]


def test_shifts_that_clash_or_are_missing_are_named(root: Path, save_set: SaveSet) -> None:
    save_set("c/fog/3", COLORS)
    of_c = {"kind": "imagenet-c", "path": root.parent / "c"}
    for shifts, said in (
        ({"c-fog-3": root / "val", "c": of_c}, "another set is called 'c-fog-3'"),
        ({"test": root / "val"}, "another set is called 'test'"),
        ({"c": {**of_c, "corruption": "fog", "severity": 5}}, r"data\.shifts\.c: .* has no folder fog/5"),
    ):
        with pytest.raises(UserError, match=said):
            load_data(config(root, shifts=shifts))


ROOT = {"source": "imagenet", "root": "a"}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"source": "imagenet", "train": "a", "val": "b"}, "needs the key root, or train and test"),
        ({**ROOT, "class_names": "opnai"}, "'opnai' is no list of names"),
        ({**ROOT, "shifts": {"r": {"kind": "imagenet-q", "path": "c"}}}, "'imagenet-q'.*imagenet-sketch"),
        ({**ROOT, "shifts": {"c": {"kind": "imagenet-c", "path": "c", "severity": 6}}}, "less than or equal to 5"),
    ],
)
def test_what_does_not_fit_in_a_recipe_is_named(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DataConfig.model_validate(keys)
