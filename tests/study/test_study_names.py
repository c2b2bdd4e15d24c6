"""The names of a study as files: two test sets are never one, and nothing is written beside the study's own folders."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_study import recipe_of

from genrobust.classifiers import SavedPredictions
from genrobust.core import MEAN_OF_SHIFTS, UserError
from genrobust.study import Study

NAMES = ("Sketch", "sketch", "a b", "a-b", "a.b", "..", "con", "../../x", "\u9375", "x" * 200)
CLASSES = {name: name for name in ("airplane", "bell", "camera")}
TRAIN = {"architecture": "test_resnet", "image_size": 32, "steps": 1, "batch_size": 4, "warmup_steps": 0}


@pytest.fixture
def data(write_folder: Callable[..., Path]) -> dict[str, Any]:
    train, test = write_folder("train", "train", 4, CLASSES), write_folder("test", "test", 3, CLASSES)
    return {"source": "folders", "train": str(train), "test": str(test)}


def test_test_sets_whose_names_differ_by_a_letter_have_predictions_of_their_own(
    data: dict[str, Any], write_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """Each set has another number of images, and so has each file."""
    data["shifts"] = {
        name: str(write_folder(f"s{number}", "solid", 1 + number % 3, dict(list(CLASSES.items())[: 2 + number % 2])))
        for number, name in enumerate(NAMES)
    }
    for number in range(len(NAMES)):  # the same icons, in other bytes: no copies
        for image in (tmp_path / f"s{number}").rglob("*.png"):
            image.write_bytes(image.read_bytes() + bytes([number]))
    study = Study(recipe_of(data=data, train=TRAIN, threads=1, device="cpu"), tmp_path / "out" / "runs")
    found = study.predictions(study.runs("real"))[0]
    assert isinstance(found, SavedPredictions)
    assert list(found.folders) == ["test", *NAMES] and len(set(found.folders.values())) == 1 + len(NAMES)
    assert {folder.parent for folder in found.folders.values()} == {study.out / "predictions"}
    for name in NAMES:
        images = study.data.tests[name]
        assert (found[name].test_set, found[name].keys) == (name, tuple(images.keys))
        assert np.array_equal(found[name].labels, images.labels)
    assert not [row for row in study.rows() if row.left and row.stage == "evaluate"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["runs"]


@pytest.mark.parametrize("name", [MEAN_OF_SHIFTS, "mean  of shifts", "mean of sh\u200difts", "te\u200cst"])
def test_a_test_set_is_not_called_as_another_metric_is(data: dict[str, Any], tmp_path: Path, name: str) -> None:
    data["shifts"] = {name: data["test"]}
    with pytest.raises(UserError, match=r"data\.shifts"):
        Study(recipe_of(data=data), tmp_path / "runs").rows()


def test_a_study_of_a_hundred_million_planned_images_is_shown_without_listing_them(tmp_path: Path) -> None:
    """A training's epochs count the images of each class, and list no label of any."""
    generate = {"per_class": 1_000_000, "shard_size": 100_000}
    arms = [
        {"name": "real", "mixture": "real"},
        {"name": "both", "mixture": [{"source": "generated", "fraction": 0.5}]},
    ]
    recipe = recipe_of(generate=generate, arms=arms, train=TRAIN | {"steps": None, "epochs": 1}, device="cpu")
    study = Study(recipe, tmp_path)
    study.rows()  # loads the libraries and the real images
    tracemalloc.start()
    rows = {row.name: row for row in study.rows() if row.stage in ("generate", "train")}
    assert tracemalloc.get_traced_memory()[1] < 200_000_000
    tracemalloc.stop()
    assert rows["generated"].total == 100_000_000
    assert rows["both, seed 0"].total == 100 * 500_000 // 4
