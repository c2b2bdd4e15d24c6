"""The grid of baseline models and its table."""

from __future__ import annotations

from pathlib import Path

import pytest

from genrobust.baselines import format_table, grid, read_table
from genrobust.config import TrainConfig
from genrobust.data import BaselineModel
from genrobust.errors import UserError
from genrobust.models import create_classifier
from genrobust.recipe import load_recipe


def test_a_longer_grid_begins_with_the_shorter() -> None:
    whole = grid(TrainConfig(), 14)
    assert grid(TrainConfig(), 5) == whole[:5]
    assert len({model.name for model in whole}) == 14
    assert all(0 < m.fraction <= 1 and m.train.warmup_steps <= m.train.steps for m in whole)


def test_every_model_of_the_recipes_grid_can_be_made() -> None:
    for train in (load_recipe("pictograms").train, TrainConfig(architecture="mobilenetv3_small_050")):
        made = {(m.train.architecture, tuple(m.train.model_kwargs)) for m in grid(train, 14)}
        assert len(made) == 2
        for model in grid(train, 2):
            create_classifier(model.train.architecture, 100, 64, model.train.model_kwargs)


def test_more_models_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match="more than the 14 models"):
        grid(TrainConfig(), 15)


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    rows = [BaselineModel('resnet, "small"', "solid", 81.25, 40.5), BaselineModel("b", "emoji", 60.0, 7.125)]
    (tmp_path / "t.csv").write_text(format_table(rows), encoding="utf-8")
    assert read_table(str(tmp_path / "t.csv")) == rows


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model,test_set,clean\na,b,1\n", "no column 'shifted'"),
        ("model,test_set,clean,shifted\na,b,x,1\n", "line 2: clean and shifted are percents"),
        ("model,test_set,clean,shifted\na,b,1\n", "line 2"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        read_table(str(tmp_path / "t.csv"))


def test_the_shipped_table_covers_every_shift() -> None:
    rows = read_table("pictograms")
    shifts = {row.test_set for row in rows}
    assert shifts == {"outline-v2", "solid", "duotone", "emoji", "illustration", "hand-drawn", "pixel"}
    assert all(len([r for r in rows if r.test_set == shift]) >= 12 for shift in shifts)
    assert all(0 <= r.clean <= 100 and 0 <= r.shifted <= 100 for r in rows)
