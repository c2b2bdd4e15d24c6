"""The cells, classes in a style, that training images have and lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from small_study import recipe_of

from genrobust.study import Study
from genrobust.study.results.cells import LEAST_IMAGES, find_cells

KINDS = ("bird", "cat")


def write(folder: Path, of_class: dict[str, dict[str, int]]) -> Path:
    """Write so many images of each class, by style, each of a color of its own."""
    rng = np.random.default_rng([ord(letter) for letter in folder.name])
    for name, by_style in of_class.items():
        (folder / name).mkdir(parents=True)
        for style, count in by_style.items():
            for i in range(count):
                pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{style}_{i}.png")
    return folder


def test_cells_are_those_of_the_training_images_of_each_arm(tmp_path: Path) -> None:
    data = {
        "source": "folders",
        "train": str(write(tmp_path / "train", {"bird": {"photo": 3, "ink": 3}, "cat": {"photo": 3}})),
        "test": str(write(tmp_path / "test", {kind: {"photo": LEAST_IMAGES} for kind in KINDS})),
        "shifts": {name: {"path": str(write(tmp_path / name, {kind: {"x": LEAST_IMAGES} for kind in KINDS}))}
                   for name in ("ink", "oil")},
        "styles": {"pattern": "/([a-z]+)_"},
    }  # fmt: skip
    arms = [
        {"name": "real", "mixture": "real"},
        {"name": "again", "mixture": "real", "train": {"steps": 3}},
    ]

    def study_of(**keys: Any) -> Study:
        given = {"data": data, "arms": arms, "evaluate": {"min_images": 1}, **keys}
        return Study(recipe_of(**given), tmp_path / "runs")

    study = study_of()
    (found,), subsets = find_cells(study.plan)
    assert found.arms == ("real", "again")
    assert found.lacking == (("cat", "ink", LEAST_IMAGES),)
    labels = study.data.tests["ink"].labels
    assert set(subsets[found.absent]) == set(subsets[found.present]) == {"ink"}, "it has nothing of oil"
    assert (subsets[found.absent]["ink"] == (labels == study.data.labels.names.index("cat"))).all()
    assert (subsets[found.present]["ink"] != subsets[found.absent]["ink"]).all()
    wide = {"name": "wide", "mixture": ["real", "retrieved-all"]}
    data["retrieved"] = str(write(tmp_path / "found", {kind: {"ink": 1} for kind in KINDS}))
    (before,), _ = find_cells(study_of(arms=[wide, *arms]).plan)
    assert before.arms == found.arms and before.lacking == found.lacking
    begun = [wide, *({**arm, "train": {"init": "arm:wide"}} for arm in arms)]
    assert find_cells(study_of(arms=begun).plan) == ((), {}), "it began with all"
    assert find_cells(study_of(data={**data, "styles": None}).plan) == ((), {})
    assert find_cells(study_of(evaluate={"min_images": 2 * LEAST_IMAGES + 1}).plan) == ((), {})
    assert find_cells(study.plan, excluded=["ink"]) == ((), {}), "as of a set that is left out of the mean otherwise"
