"""Readers of other packages are named in recipes as genrobust's own are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from genrobust.data import load_data, published_line
from genrobust.recipe import DataConfig, Recipe

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


@pytest.mark.usefixtures("plugin")
def test_the_schema_of_a_recipe_has_the_keys_of_every_source_and_reader() -> None:
    schema = json.dumps(Recipe.model_json_schema())
    assert all(f'"{key}": {{' in schema for key in ("below", "severity", "root"))
