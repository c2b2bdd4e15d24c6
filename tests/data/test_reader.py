"""Readers of other packages are named in recipes as genrobust's own are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from genrobust.core import UserError, prefix
from genrobust.data import load_data, published_line
from genrobust.data.held_out import held_out
from genrobust.recipe import DataConfig

NIGHT = '''
from genrobust.core import Line
from genrobust.data import Reader, open_images, open_stored

class Night(Reader):
    """Photographs at night: one test set, with the line of those who published it."""

    below: str

    def open(self, name, classes, same_class):
        return {name: open_images(name, open_stored(self.path / self.below), classes, same_class)}

    def line(self):
        fit = {"slope": 1.0, "intercept": -0.5, "r2": 0.9, "n": 50, "residual_sd": 0.1}
        return Line(test_set="", transform="logit", **fit, lo=50.0, hi=90.0, center=1.0)
'''
SMALL = '''
from genrobust.data import DataSource, FolderClasses
from genrobust.data.readers.pictograms import load_pictograms

class Small(DataSource):
    """A source."""

    def load(self):
        data = load_pictograms()
        return data, FolderClasses(data.labels, data.labels.ids)
'''


@pytest.fixture
def plugin(install: Callable[..., None]) -> None:
    """A reader and a source of other packages."""
    install("genrobust.readers", "night_sets", NIGHT, night="night_sets:Night")
    install("genrobust.sources", "small_sets", SMALL, small="small_sets:Small")


def folders(photos: Path, **shift: object) -> DataConfig:
    keys = {"source": "folders", "train": photos / "train", "test": photos / "test", "shifts": {"dark": shift}}
    return DataConfig.model_validate(keys)


@pytest.mark.usefixtures("plugin")
def test_a_test_set_and_a_source_of_another_package(photos: Path) -> None:
    (photos / "test").rename(photos / "night")
    (photos / "night").joinpath("../test").symlink_to(photos / "night")
    config = folders(photos, kind="night", path=photos, below="night")
    data = load_data(config)
    assert data.shifts == ("dark",) and len(data.tests["dark"]) == 9
    line = published_line("dark", config.shifts["dark"])
    assert line is not None and (line.test_set, line.intercept) == ("dark", -0.5)
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config
    assert len(load_data(DataConfig(source="small")).labels) == 100


@pytest.mark.usefixtures("plugin")
def test_keys_belong_to_the_reader_that_has_them() -> None:
    for shift, named in (
        ({"kind": "night", "path": "p"}, "below"),
        ({"path": "p", "below": "n"}, "shifts.dark.below\n.*kind night, not to kind folders"),
        ({"kind": "night", "path": "p", "below": "n", "map": "paper"}, "map\n.*kind objectnet, not to kind night"),
        ({"kind": "small", "path": "p"}, "no reader 'small'"),
    ):
        with pytest.raises(ValidationError, match=named):
            folders(Path("nowhere"), **shift)
    with pytest.raises(ValidationError, match="no source 'night'"):
        DataConfig(source="night")


@pytest.fixture
def styles(write_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """Folders `photos` and `test` of three classes, and `others` with folders STYLE/CLASS."""
    classes = {"airplane": "airplane", "bell": "bell", "camera": "camera"}
    write_folder("photos", "train", 8, classes)
    write_folder("test", "test", 3, classes)
    write_folder("others/ink", "solid", 4, {"Airplane": "airplane", "bell": "bell"})
    write_folder("others/oil", "emoji", 4, classes)
    return tmp_path


def of_styles(root: Path, **keys: object) -> DataConfig:
    return DataConfig.model_validate(
        {"source": "folders", "train": str(root / "photos"), "test": str(root / "test"), **keys}
    )


def test_folders_of_styles_are_read_in_each_place(styles: Path) -> None:
    others = str(styles / "others")
    data = load_data(of_styles(styles, retrieved=others))
    assert data.retrieval is not None
    assert {*zip(data.retrieval.styles, data.retrieval.labels.tolist(), strict=True)} == {
        *(("oil", label) for label in range(3)), ("ink", 0), ("ink", 1)
    }  # fmt: skip
    assert {*data.train.styles} == {"real"}
    plain = load_data(of_styles(styles, shifts={"styled": others}))
    given = load_data(of_styles(styles, generated=others)).generated
    assert given is not None and {*given.styles} == {*plain.tests["styled"].styles} == {"ink", "oil"}
    assert len(plain.tests["styled"]) == len(given) == len([*(styles / "others").rglob("*.png")])
    first = prefix(given, 2)  # of images that are listed by name, folder after folder
    assert {*zip([given.styles[i] for i in first], given.labels[first].tolist(), strict=True)} == {
        *zip(data.retrieval.styles, data.retrieval.labels.tolist(), strict=True)
    }
    assert plain.train.fingerprint == data.train.fingerprint and not any(plain.train.styles)


def test_what_is_wrong_in_folders_of_styles_is_named(styles: Path) -> None:
    others = of_styles(styles, retrieved=str(styles / "others"))
    (styles / "others/oil/lamp").mkdir()
    with pytest.raises(UserError, match=r"these folders mean no class .*: lamp"):
        load_data(others)
    load_data(others.model_copy(update={"same_class": {"lamp": ""}}))
    (styles / "others/misc").mkdir()
    with pytest.raises(UserError, match=r"these folders mean no class .*: misc"):
        load_data(others.model_copy(update={"same_class": {"lamp": ""}}))
    without = load_data(others.model_copy(update={"same_class": {"lamp": "", "misc": "", "ink": ""}})).retrieval
    assert without is not None and {*without.styles} == {"oil"}
    next((styles / "others/ink/bell").iterdir()).rename(styles / "others/ink/loose.png")
    with pytest.raises(UserError, match="others/ink holds images of no class"):
        load_data(others)


def test_styles_that_are_taken_for_classes_are_named(styles: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(styles / "others/oil/camera", styles / "others/ink/camera")
    others = {key: str(shutil.copytree(styles / "others", styles / f"my {key}")) for key in ("train", "test")}
    load_data(of_styles(styles, shifts={"styled": str(styles / "others")}))
    assert not caplog.records
    assert load_data(of_styles(styles, **others)).labels.ids == ("ink", "oil")
    assert "data.train: ink, oil are taken for classes" in caplog.text


def test_a_third_of_a_shift_is_held_out_to_choose_by(styles: Path) -> None:
    shifts = {"ink": str(styles / "others/ink"), "oil": str(styles / "others/oil")}
    data = load_data(of_styles(styles, shifts=shifts, shifted_val="oil"))
    assert data.shifted_val is not None and data.shifted_val.name == "oil-val"
    kept, held = (np.bincount(images.labels).tolist() for images in (data.tests["oil"], data.shifted_val))
    assert held == [held_out(a + b, 1 / 3) for a, b in zip(kept, held, strict=True)] and min(held) > 0
    assert not {*data.tests["oil"].keys} & {*data.shifted_val.keys}
    rule = {"pattern": "([0-9])[.]"}
    apart = load_data(of_styles(styles, shifts=shifts, shifted_val="oil", groups_apart=rule))
    assert apart.shifted_val is not None
    assert not {key[-5] for key in apart.tests["oil"].keys} & {key[-5] for key in apart.shifted_val.keys}
    grouped = load_data(of_styles(styles, shifts=shifts, shifted_val="oil", groups={"oil": rule}))
    assert grouped.shifted_val is not None and grouped.shifted_val.groups is not None
    assert not {*grouped.image_groups["oil"]} & {*grouped.shifted_val.groups}, "each group lies on one side"
    both = of_styles(styles, shifts=shifts, shifted_val="oil", groups={"oil": rule}, groups_apart={"pattern": "(air)"})
    held = load_data(both).shifted_val
    assert held is not None and list(held.keys) == list(grouped.shifted_val.keys), "by their groups first"
    with pytest.raises(UserError, match=r"data.shifts: the shifted validation set is called 'oil-val'"):
        load_data(of_styles(styles, shifts={**shifts, "oil-val": shifts["ink"]}, shifted_val="oil"))
    with pytest.raises(UserError, match=r"data.shifted_val: no shifted test set 'lead' to divide; there are ink, oil"):
        load_data(of_styles(styles, shifts=shifts, shifted_val="lead"))


@pytest.mark.parametrize(
    ("key", "value"), [("retrieved", "others"), ("test", "photos/bell"), ("generated", "test/bell")]
)
def test_no_set_lies_in_a_test_set_or_around_one(key: str, value: str, styles: Path) -> None:
    with pytest.raises(UserError, match="give each set images of its own"):
        load_data(of_styles(styles, shifts={"oil": str(styles / "others/oil")}, **{key: str(styles / value)}))
