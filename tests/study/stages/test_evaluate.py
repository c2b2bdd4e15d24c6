"""Predictions of a study, of classifiers that are adapted to each set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from small_study import REAL, TRAIN, files, recipe_of

from genrobust.study import Study

TINY = {"embed_dim": 32, "depth": 1, "num_heads": 2, "patch_size": 16}
RECIPE: dict[str, Any] = {
    "threads": 1,
    "device": "cpu",
    "generator": None,
    "data": {"source": "pictograms"},
    "train": TRAIN,
    "arms": [
        REAL,
        {"name": "vit", "mixture": "real", "train": {"architecture": "vit_tiny_patch16_224", "model_kwargs": TINY}},
    ],
    "robustness": {"baselines": None, "bootstrap": 100},
}


def study(out: Path, **evaluate: Any) -> Study:
    return Study(recipe_of(**RECIPE, evaluate={"tests": ["hand-drawn"], "min_images": 1, **evaluate}), out)


def test_adapted_classifiers_are_scored_beside_the_others(tmp_path: Path) -> None:
    plain = study(tmp_path).scores()
    before = files(tmp_path / "predictions")
    assert plain.summary.find("top1_adapted", "real") is None

    adapted = study(tmp_path, adapt="batch-norm").scores()
    after = files(tmp_path / "predictions")
    assert before.items() <= after.items() and len(after) - len(before) == 2 * 2  # a file and a manifest for each set
    tests = ("test", "hand-drawn")
    for arm, is_same in (("real", False), ("vit", True)):
        values = [
            [adapted.summary.score(metric, arm, test).value for test in tests] for metric in ("top1", "top1_adapted")
        ]
        assert (values[0] == values[1]) is is_same
        assert values[0] == [plain.summary.score("top1", arm, test).value for test in tests]
    assert adapted.summary.find("top1_adapted", "vit", minus="real") is not None
    assert adapted.notes == (*plain.notes, "vit: not adapted, since the network has no batch norms.")
