"""Readers of other packages are named in recipes as genrobust's own are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from genrobust.core import UserError
from genrobust.data import reader
from genrobust.data.reader import load_data
from genrobust.recipe import DataConfig, data as recipe_data

PLUGIN = '''
from genrobust.core import Line
from genrobust.data import open_images, open_stored
from genrobust.data.readers.pictograms import load

class Night:
    """Photographs at night: one test set, with the line of those who published it."""

    def open(self, name, shift, classes, same_class):
        return {name: open_images(name, open_stored(shift.path / "night"), classes, same_class)}

    def line(self, shift):
        fit = {"slope": 1.0, "intercept": -0.5, "r2": 0.9, "n": 50, "residual_sd": 0.1}
        return Line(test_set="", transform="logit", **fit, lo=50.0, hi=90.0, center=1.0)

class Small:
    """A source."""

    def load(self, config):
        return load()

night, small = Night(), Small()
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with two readers, as pip installs it."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "night_sets.py").write_text(PLUGIN)
    about = tmp_path / "night_sets-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: night-sets\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[genrobust.readers]\nnight = night_sets:night\nsmall = night_sets:small\n")
    for registry in (reader.READERS, recipe_data.PLUGINS):
        monkeypatch.setattr(registry, "_plugins", None)
    yield
    sys.modules.pop("night_sets", None)


def folders(photos: Path, kind: str) -> DataConfig:
    shift = {"kind": kind, "path": photos}
    keys = {"source": "folders", "train": photos / "train", "test": photos / "test", "shifts": {"dark": shift}}
    return DataConfig.model_validate(keys)


@pytest.mark.usefixtures("plugin")
def test_a_test_set_and_a_source_of_another_package(photos: Path) -> None:
    (photos / "test").rename(photos / "night")
    (photos / "night").joinpath("../test").symlink_to(photos / "night")
    config = folders(photos, "night")
    data = load_data(config)
    assert data.shifts == ("dark",) and len(data.tests["dark"]) == 9
    line = reader.published_line("dark", config.shifts["dark"])
    assert line is not None and (line.test_set, line.intercept) == ("dark", -0.5)
    assert len(load_data(DataConfig(source="small")).labels) == 100


@pytest.mark.usefixtures("plugin")
def test_a_source_is_no_test_set_and_the_other_way() -> None:
    with pytest.raises(UserError, match=r"data\.source: night is a kind of test set"):
        load_data(DataConfig(source="night"))
    with pytest.raises(UserError, match=r"data\.shifts\.dark\.kind: small is a source"):
        load_data(folders(Path("nowhere"), "small"))


def test_every_name_of_a_recipe_has_a_reader() -> None:
    for name in get_args(recipe_data.SourceName):
        assert isinstance(reader.READERS.get(name), reader.Source)
    for name in get_args(recipe_data.Kind):
        assert reader.shift_reader("mine", name)
