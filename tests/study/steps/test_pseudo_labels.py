"""Images without labels: arms learn from labels that another arm predicts, and the report estimates accuracies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_study import CLASSES, TRAIN, folders_section

from genrobust.classifiers import read_checkpoint_info
from genrobust.core import UserError
from genrobust.recipe import parse_recipe
from genrobust.study import Study
from genrobust.study.steps.predict import open_predictions
from genrobust.study.steps.pseudo_labels import PseudoLabels
from genrobust.study.steps.train import Train

SEEDS = (0, 1)


@pytest.fixture
def recipe(write_folder, tmp_path):
    """Three arms; the second one learns from labels of the first one, and the third one from labels of the second."""
    names = ("train", "test", "solid", "emoji")
    section = folders_section({name: write_folder(name, name, 6, CLASSES) for name in names})
    flat = tmp_path / "site"
    flat.mkdir()
    for place, path in enumerate(sorted(write_folder("labeled", "retrieved", 8, CLASSES).glob("*/*"))):
        shutil.copy(path, flat / f"{place}.png")
    shutil.copy(next((tmp_path / "train").glob("*/*")), flat / "copy of train.png")
    shutil.copy(next((tmp_path / "solid").glob("*/*")), flat / "copy of solid.png")

    def arm(name, teacher):
        part = {"source": "site", "labels": teacher, "per_class": 3, "weight": 1}
        return {"name": name, "mixture": [{"source": "real", "weight": 1}, part]}

    return {
        "name": "site",
        "threads": 1,
        "device": "cpu",
        "generator": None,
        "seeds": list(SEEDS),
        "data": {**section, "unlabeled": {"site": str(flat)}},
        "train": {**TRAIN, "steps": 6},
        "arms": [{"name": "real", "mixture": "real"}, arm("round 1", "real"), arm("round 2", "round 1")],
        "evaluate": {"batch_size": 4, "min_images": 2},
        "robustness": {"baselines": None, "bootstrap": 100},
    }


def test_an_arm_learns_from_the_most_confident_labels_of_another_with_its_seed(recipe, tmp_path):
    lines: list[str] = []
    study = Study(parse_recipe(recipe), tmp_path / "runs", say=lines.append)
    kept = {Path(key).name for key in study.data.unlabeled["site"].keys}
    assert not {"copy of train.png", "copy of solid.png"} & kept
    study.run()
    plan = study.plan
    for seed in SEEDS:
        for student, teacher in (("round 1", "real"), ("round 2", "round 1")):
            step = plan.arm(student, seed)
            images = step.parts[1].source
            assert isinstance(images, PseudoLabels) and images.teacher.classifier is plan.arm(teacher, seed)
            (saved,) = open_predictions([images.teacher])
            answers = dict(zip(saved["site"].keys, saved["site"].logits, strict=True))
            found = images.open()
            assert sorted(found.keys) == sorted(study.data.unlabeled["site"].keys)
            assert found.labels.tolist() == [int(answers[key].argmax()) for key in found.keys]
            odds = [float(np.exp(answers[key]).max() / np.exp(answers[key]).sum()) for key in found.keys]
            assert odds == sorted(odds, reverse=True)
            counts = read_checkpoint_info(step.folder).training["counts"]
            assert counts["site"] == sum(min(3, n) for n in np.bincount(found.labels)) < len(found)
    order = [step.run.name for step in plan.steps() if isinstance(step, Train)]
    assert order.index("real, seed 1") < order.index("round 1, seed 0") < order.index("round 2, seed 0")

    told = json.loads((study.report_folder / "results.json").read_text())["unlabeled"]
    (site,) = told["sets"]
    assert (site["name"], site["size"]) == ("site", 24)
    assert {each["name"] for each in told["estimators"]} == {*site["estimates"]} >= {"cot", "atc"}
    for estimates in site["estimates"].values():
        assert {*estimates} == {"real", "round 1", "round 2"} and all(0 <= value <= 100 for value in estimates.values())
    page = (study.report_folder / "report.html").read_text()
    assert "Images without labels" in page and "Without labels" in page
    assert "estimates are too high for arms that learned from predicted labels: round 1, round 2." in page
    assert sum("labels 24 images of site" in line for line in lines) == 2  # for one seed

    again: list[str] = []
    Study(parse_recipe(recipe), tmp_path / "runs", say=again.append).run()
    assert not [line for line in again if line.startswith("training ")]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"source": "site"}, ("site", "labels")),
        ({"source": "site", "labels": "nobody"}, ("labels", "nobody")),
        ({"source": "real", "labels": "real"}, ("real", "labels")),
        ({"source": "site", "labels": "odd"}, ("odd < odd",)),
        ({"source": "site", "labels": "round 3"}, ("round 3",)),
    ],
)
def test_labels_that_nobody_can_predict_are_mistakes(recipe, part, words):
    odd = {"name": "odd", "mixture": [part]}
    third = {"name": "round 3", "mixture": [{"source": "site", "labels": "odd"}]}
    arms = [*recipe["arms"], odd, third] if part.get("labels") == "round 3" else [*recipe["arms"], odd]
    with pytest.raises(UserError) as error:
        parse_recipe({**recipe, "arms": arms})
    for word in words:
        assert word in str(error.value)


def test_names_of_images_without_labels_are_their_own(recipe, tmp_path):
    with pytest.raises(UserError, match=r"data\.unlabeled"):
        parse_recipe({**recipe, "data": {**recipe["data"], "unlabeled": {"solid": recipe["data"]["train"]}}})
    named = {**recipe, "arms": recipe["arms"][:1]}
    named["data"] = {**recipe["data"], "unlabeled": {"test": recipe["data"]["unlabeled"]["site"]}}
    with pytest.raises(UserError, match=r"data\.unlabeled"):
        Study(parse_recipe(named), tmp_path / "runs").context.load_images()
