"""Qualities: every source is embedded once, and a damaged one is named."""

import pytest
import torch
from small_study import CLASSES, QUICK, REAL, folders_section

from genrobust.core import GenrobustError
from genrobust.recipe import parse_recipe
from genrobust.study import Study
from genrobust.study.sources.embeddings import CLASS_NAMES


def test_a_source_is_embedded_once(write_folder, clip_folder, tmp_path):
    sets = {name: write_folder(name, name, 5, CLASSES) for name in ("train", "test")}
    data = folders_section(sets, extra={"wild": str(write_folder("wild", "emoji", 2, CLASSES))})
    recipe = QUICK | {"data": data, "arms": [REAL, {"name": "wild", "mixture": "wild"}], "generator": None}
    recipe |= {"quality": {"clip": str(clip_folder), "per_class": 3}, "threads": 2}

    def describe():
        study = Study(parse_recipe(recipe), tmp_path / "runs")
        return study.graph.describe(study.recipe.quality)

    made = describe()
    assert {job.key: job.size for job in made.jobs()} == {"real": 9, "wild": 6, CLASS_NAMES: 3}
    torch.set_num_threads(1)
    made.run()
    assert torch.get_num_threads() == made.threads == 2, "the recipe's, in the command's own process, too"
    first = made.found()
    files = sorted((tmp_path / "runs" / "embeddings").glob("*/embeddings.npz"))
    assert len(files) == 3 and first[0].made == 12 and first[0].n == 9  # of each class four are trained on
    again = describe()
    assert not any(job.size for job in again.jobs()) and again.found() == first
    files[0].write_bytes(b"damaged")
    with pytest.raises(GenrobustError, match=files[0].parent.name):
        again.found()
