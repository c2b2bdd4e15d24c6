"""What a report says of the networks that arms start from."""

from __future__ import annotations

import pytest
from small_study import QUICK, TRAIN

from genrobust.recipe import parse_recipe
from genrobust.study import Study
from genrobust.study.results.initial_weights import describe_starts, name_starts

REAL = {"name": "real", "mixture": "real"}


def notes(tmp_path, *arms, **keys):
    recipe = {**QUICK, "train": {**TRAIN, "image_size": 64}, "generator": None, "arms": [REAL, *arms], **keys}
    recipe["evaluate"] = {"image_size": 64}
    return list(describe_starts(Study(parse_recipe(recipe), tmp_path).plan))


def arm(name, **train):
    return {"name": name, "mixture": "real", "train": train}


@pytest.mark.parametrize(
    ("train", "seen"),
    [
        ({"init": "clip:pictograms"}, "wild, icons in all styles"),
        ({"init": "arm:real"}, "images of the study"),
        (
            {"init": "vit_base_patch32_clip_224.laion2b_ft_in12k_in1k"},
            "(vit_base_patch32_clip_224.laion2b_ft_in12k_in1k)",
        ),
        ({"init": "CHECKPOINT"}, "images that it does not name"),
        ({"init": "TIMM"}, "the data that its name tells"),
        ({"init": "arm:again"}, "real; before that, on wild, icons in all styles"),
    ],
    ids=str,
)
def test_training_data_is_named_where_it_is_known(train, seen, tmp_path, save_classifier, few_classes, timm_folders):
    places = {"CHECKPOINT": save_classifier(few_classes), "TIMM": timm_folders["vit"]}
    init = str(places.get(train["init"], train["init"]))
    *_, note = notes(tmp_path, arm("again", init="clip:pictograms"), arm("tuned", **{**train, "init": init}))
    assert seen in note and "tuned" in note
    assert ("no fair comparison" in note) is (init != "arm:real"), "which has seen images of the study alone"


def test_images_that_are_prepared_otherwise_than_before_are_noted(tmp_path):
    (note,) = notes(tmp_path, arm("tuned", init="resnet50.a1_in1k"))
    assert "train.image_size: 224" in note
    large = arm("large", init="resnet50.a1_in1k", image_size=224)
    (note,) = notes(tmp_path, large)
    assert "image_size" not in note
    (note,) = notes(tmp_path, large, arm("tuned", init="resnet50.a1_in1k"))
    assert "train.image_size: 224" in note, "though the first arm has its size"


def test_arms_of_one_start_share_a_note_and_scratch_has_none(tmp_path):
    assert notes(tmp_path) == []
    both = [arm(name, init="clip:pictograms", method=method) for name, method in (("a", "full"), ("b", "lp-ft"))]
    (note,) = notes(tmp_path, *both)
    assert "are a, b." in note


def test_seeds_that_all_start_from_one_are_said_to(tmp_path):
    for seeds, said in (([3, 4], True), ([3], False)):
        (note,) = notes(tmp_path, arm("tuned", init="arm:real"), seeds=seeds)
        assert ("its seed 3" in note) is said


def test_the_report_names_the_start_of_every_arm(tmp_path):
    """With the word scratch or the pretrained network."""
    parsed = [
        parse_recipe({**QUICK, "generator": None, "arms": [REAL, *arms]})
        for arms in ([], [arm("tuned", init="clip:pictograms"), arm("again", init="arm:tuned")])
    ]
    plain, mixed = map(name_starts, parsed)
    assert "scratch" in plain and "pretrained network" not in plain
    assert all(text in mixed for text in ("real from scratch", "tuned from the pretrained network clip"))
    assert "the arm tuned" in mixed
