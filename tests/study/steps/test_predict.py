"""Predictions of a study: on corrupted sets, and of classifiers that are adapted to each set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from small_study import REAL, TRAIN, files, recipe_of

from genrobust.study import Study

TINY = {"embed_dim": 32, "depth": 1, "num_heads": 2, "patch_size": 16}
FOG = {"kind": "corruptions", "of": "hand-drawn", "which": ["fog"], "severities": [1, 5]}
RECIPE: dict[str, Any] = {
    "threads": 1,
    "device": "cpu",
    "generator": None,
    "data": {"source": "pictograms", "shifts": {"foggy": FOG}},
    "train": TRAIN,
    "arms": [
        REAL,
        {"name": "vit", "mixture": "real", "train": {"architecture": "vit_tiny_patch16_224", "model_kwargs": TINY}},
    ],
    "robustness": {"baselines": None, "bootstrap": 100},
}


def study(out: Path, *tests: str, **evaluate: Any) -> Study:
    return Study(recipe_of(**RECIPE, evaluate={"tests": tests, "min_images": 1, **evaluate}), out)


def test_adapted_classifiers_are_scored_beside_the_others_and_corruptions_beside_the_shifts(tmp_path: Path) -> None:
    plain = study(tmp_path, "hand-drawn", "foggy-weather").scores()
    before = files(tmp_path / "predictions")
    assert plain.summary.shifts == ("hand-drawn",)
    assert plain.summary.left_out.keys() == {"foggy-weather"}
    assert plain.summary.score("top1", "real", "foggy-weather").n == 2 * plain.summary.score("top1", "real").n
    assert plain.summary.find("top1_adapted", "real") is None

    adapted = study(tmp_path, "hand-drawn", "foggy-weather", adapt="batch-norm").scores()
    after = files(tmp_path / "predictions")
    assert before.items() <= after.items() and len(after) - len(before) == 2 * 3  # a file and a manifest for each set
    tests = ("test", "hand-drawn", "foggy-weather")
    for arm, is_same in (("real", False), ("vit", True)):
        values = [
            [adapted.summary.score(metric, arm, test).value for test in tests] for metric in ("top1", "top1_adapted")
        ]
        assert (values[0] == values[1]) is is_same
        assert values[0] == [plain.summary.score("top1", arm, test).value for test in tests]
    assert adapted.summary.find("top1_adapted", "vit", minus="real") is not None
    (note,) = set(adapted.notes) - set(plain.notes)
    assert note.startswith("vit: not adapted")

    kinds = []
    for test in ("hand-drawn", "foggy-weather"):
        plan = study(tmp_path, test).plan
        kinds.append({step.cost(item).kind for step in plan.predict(plan.runs) for item in step.items()})
    without, corrupted = kinds
    assert without != corrupted, "images are made anew for corrupted sets: their rate is another one"

    alone = study(tmp_path, "foggy-weather").scores()
    assert alone.summary.shifts == ("foggy-weather",)
    assert files(tmp_path / "predictions") == after


def test_a_baseline_model_that_is_an_arm_too_is_adapted_as_that(tmp_path: Path) -> None:
    """Else its predictions would be missing where workers make them, and made by the report alone."""
    train = TRAIN | {"steps": 20}
    recipe = RECIPE | {"data": {"source": "pictograms"}, "train": train, "arms": [REAL], "robustness": {"grid": 3}}
    plan = Study(recipe_of(**recipe, evaluate={"tests": ["hand-drawn"], "adapt": "batch-norm"}), tmp_path).plan
    arm, *models = plan.runs
    assert plan.classifier(arm).folder in {plan.classifier(run).folder for run in models}
    steps = set(plan.predict(plan.runs))
    assert sorted(len(step.artifacts()) for step in steps) == [2, 2, 4], "on two test sets"
