"""Cells of class and style are withheld from the images to retrieve: by patterns, or a share that a hash chooses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from genrobust.core import StudyData, UserError
from genrobust.data import list_cells, withheld_cells, withhold
from genrobust.data.withholding import Cell
from genrobust.recipe import WithoutConfig


def without(data: StudyData, cells: Any) -> StudyData:
    return withhold(data, WithoutConfig(cells=cells))


def hole(data: StudyData, share: float, seed: int = 0) -> set[Cell]:
    return withheld_cells(without(data, {"share": share, "seed": seed}))


def test_patterns_name_cells_by_class_and_style(pictogram_data: StudyData) -> None:
    data = without(pictogram_data, ["airplane/emoji", "*/pixel"])
    assert data.retrieval is not None and data.withheld is not None and pictogram_data.retrieval is not None
    airplane = data.labels.ids.index("airplane")
    cells = {*list_cells(data.withheld)}
    assert {style for label, style in cells if label != airplane} == {"pixel"} and (airplane, "emoji") in cells
    assert not cells & {*list_cells(data.retrieval)}
    assert sorted((*data.retrieval.keys, *data.withheld.keys)) == sorted(pictogram_data.retrieval.keys)


def test_a_share_is_spread_evenly_and_a_smaller_one_is_part_of_it(pictogram_data: StudyData) -> None:
    assert pictogram_data.retrieval is not None
    cells = {*list_cells(pictogram_data.retrieval)} - {*list_cells(pictogram_data.train)}
    small, large = (hole(pictogram_data, share) for share in (0.2, 0.6))
    assert small < large < cells and (len(small), len(large)) == (round(0.2 * len(cells)), round(0.6 * len(cells)))
    for axis in (0, 1):  # each class keeps a style, each style a class, and all lose alike
        total, lost = (Counter(cell[axis] for cell in chosen) for chosen in (cells, large))
        assert all(lost[name] < total[name] for name in total)
        assert max(abs(lost[name] - 0.6 * total[name]) for name in total) <= 2
    assert hole(pictogram_data, 0.2) == small != hole(pictogram_data, 0.2, seed=1)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["airplane"], r"cells: 'airplane' .*write CLASS/STYLE, such as airplane/duotone"),
        ({"share": 0.95}, "leaves a class or a style with none.*lower share"),
        ({"share": 0.0001}, "is none: raise share"),
        (["*"], "excludes all images of wild"),
    ],
)
def test_what_withholds_none_or_too_much_is_named(pictogram_data: StudyData, cells: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"data.retrieved.without.*{said}"):
        without(pictogram_data, cells)


def test_no_share_of_cells_that_the_training_images_have_can_be_withheld(pictogram_data: StudyData) -> None:
    known = replace(pictogram_data, retrieval=pictogram_data.train)
    for share in (0.01, 0.5):
        with pytest.raises(UserError, match="no class and style can be left out: of the 0 "):
            without(known, {"share": share})
