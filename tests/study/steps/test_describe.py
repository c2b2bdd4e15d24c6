"""Qualities: every source is embedded once, and a damaged one is named."""

import pytest
import torch
from small_study import CLASSES, QUICK, REAL, folders_section

from genrobust.core import GenrobustError
from genrobust.recipe import parse_recipe
from genrobust.study import Study
from genrobust.study.batch import in_order, run_steps
from genrobust.study.steps.embeddings import CLASS_NAMES


def test_a_source_is_embedded_once(write_folder, clip_folder, tmp_path):
    sets = {name: write_folder(name, name, 5, CLASSES) for name in ("train", "test")}
    data = folders_section(sets, extra={"wild": str(write_folder("wild", "emoji", 2, CLASSES))})
    recipe = QUICK | {"data": data, "arms": [REAL, {"name": "wild", "mixture": "wild"}], "generator": None}
    recipe |= {"quality": {"clip": str(clip_folder), "per_class": 3}, "threads": 2}

    def describe():
        return Study(parse_recipe(recipe), tmp_path / "runs").plan.description()

    made = describe()
    assert {item.key: item.size for item in made.items()} == {"real": 9, "wild": 6, CLASS_NAMES: 3}
    torch.set_num_threads(1)
    run_steps(in_order([made]))
    assert torch.get_num_threads() == made.threads == 2, "the recipe's, in the command's own process, too"
    first = made.measure()
    files = sorted((tmp_path / "runs" / "embeddings").glob("*/embeddings.npz"))
    assert len(files) == 3 and first[0].made == 12 and first[0].n == 9  # of each class four are trained on
    again = describe()
    assert not any(item.size for item in again.items()) and again.measure() == first
    files[0].write_bytes(b"damaged")
    with pytest.raises(GenrobustError, match=files[0].parent.name):
        again.measure()
