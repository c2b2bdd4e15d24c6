"""A recipe's generator is trained on its own images, and once: fine-tuned, or from scratch by class and style."""

import shutil

import pytest
from small_study import QUICK, REAL, TRAIN, folders_section

from genrobust.core import UserError, embedded
from genrobust.recipe import parse_recipe
from genrobust.store import Artifact
from genrobust.study import Study
from genrobust.study.batch import run_steps


@pytest.fixture
def raw(write_folder, tiny_generator):
    """A recipe on eight images of the user's own, that fine-tunes a tiny generator for two steps."""
    classes = {"camera": "camera", "anchor": "anchor"}
    train, test = write_folder("train", "train", 4, classes), write_folder("test", "test", 1, classes)
    return {
        **QUICK,
        "data": folders_section({"train": train, "test": test}),
        "finetune": {"steps": 2, "warmup_steps": 1, "batch_size": 2, "precision": "float32"},
        "generator": {"model": str(tiny_generator), "dtype": "float32"},
        "train": {"precision": "float32"},
        "datasets": {"tuned": {"finetuned": True}},
        "arms": [REAL],
    }


def finetuned(raw, out, log=print, **sections):
    trained = Study(parse_recipe({**raw, **sections}), out, say=log).dataset("tuned").trained
    run_steps([trained])
    return trained.folder


def test_the_same_work_has_one_folder_and_is_done_once(raw, tiny_generator, tmp_path):
    trained = []

    def log(line):
        trained.extend([line] if line.startswith("training") else [])

    first = finetuned(raw, tmp_path / "runs", log)
    assert len(trained) == 1 and "on 6 images of 2 classes, 2 steps" in trained[0]
    record = Artifact(first).manifest().inputs
    assert (record["base"], record["images"], record["steps"]) == (tiny_generator.name, 6, 2)
    unet = first / "unet" / "diffusion_pytorch_model.safetensors"
    written = unet.stat().st_mtime_ns
    # How often it saves, how it is sampled afterwards and how classifiers train: none of it is another fine-tune.
    same = {"finetune": {**raw["finetune"], "save_every": 7}, "generator": raw["generator"] | {"steps": 3}}
    assert finetuned(raw, tmp_path / "runs", log, **same) == first
    assert len(trained) == 1 and unet.stat().st_mtime_ns == written
    other = finetuned(raw, tmp_path / "runs", log, data_seed=1)
    assert other != first and other.parent == first.parent
    assert len(trained) == 2


@pytest.fixture
def by_style(raw, write_folder):
    """A recipe on two domains of two classes, with a class model of both."""
    classes = {"camera": "camera", "anchor": "anchor"}
    root = write_folder("set/ink", "train", 6, classes).parent
    write_folder("set/oil", "solid", 6, classes)
    short = {"steps": 2, "warmup_steps": 1, "batch_size": 2, "precision": "float32"}
    return {
        **raw,
        "finetune": None,
        "data": {"source": "domains", "root": str(root), "real": "ink", "held_out": 0.3, "near_copies": "keep"},
        "class_model": {**short, "images": "pool", "channels": [32, 32], "components": 8},
        "datasets": {"styles": {"from_scratch": True, "generate": {"per_class": 2, "shard_size": 4}}},
        "arms": [REAL, {"name": "styles", "mixture": "styles"}],
    }


def test_a_class_model_learns_the_pool_by_class_and_style(by_style, tmp_path):
    said = []
    study = Study(parse_recipe(by_style), tmp_path / "runs", say=said.append)
    dataset = study.dataset("styles")
    rows = [(row.stage, row.total) for row in study.rows() if row.stage in ("class model", "generate")]
    assert rows == [("class model", 2), ("generate", 4)]
    drawn = study.generate("styles")
    pairs = sorted(zip(drawn.labels.tolist(), drawn.styles, strict=True))
    assert pairs == [(0, "ink"), (0, "oil"), (1, "ink"), (1, "oil")]
    model = dataset.trained
    manifest = Artifact(model.folder).manifest().inputs
    count = len(study.data.train) + len(study.data.retrieval)
    assert (manifest["images"], manifest["components"]) == (count, 8)
    assert any("(ink, oil)" in line for line in said)
    # Which of its styles are drawn is another dataset of the same class model.
    some = {"styles": {**by_style["datasets"]["styles"], "generator": {"styles": ["oil"]}}}
    other = Study(parse_recipe({**by_style, "datasets": some}), tmp_path / "runs").dataset("styles")
    assert other.trained.folder == model.folder and other.folder != dataset.folder
    assert {request.style for request in other.plan} == {"oil"}


def test_a_class_model_learns_images_of_the_size_that_the_generator_section_names(by_style, tmp_path):
    small = {**by_style, "generator": {**by_style["generator"], "width": 32, "height": 32}}
    studies = [Study(parse_recipe(raw), tmp_path / "runs") for raw in (small, by_style)]
    assert studies[0].dataset("styles").trained.folder != studies[1].dataset("styles").trained.folder
    drawn = studies[0].generate("styles")
    assert {drawn.image(i).size for i in range(len(drawn))} == {(32, 32)}
    assert {(row["width"], row["height"]) for row in drawn.metadata().to_pylist()} == {(32, 32)}


def test_a_hole_is_filled_by_generators_with_and_without_it_and_by_the_withheld_images(by_style, tmp_path):
    per_class = {"per_class": 2, "shard_size": 4}
    raw = {
        **by_style,
        "data": {**by_style["data"], "retrieved": {"without": {"cells": ["anchor/oil"]}}},
        "datasets": {
            "styles": {"from_scratch": True, "generate": per_class},
            "whole": {"from_scratch": True, "generate": per_class, "class_model": {"images": "pool+withheld"}},
        },
        "train": TRAIN,
        "arms": [
            {"name": "hole", "mixture": ["real", "retrieved-all"]},
            {"name": "filled", "mixture": ["real", "retrieved-all", {"source": "styles", "cells": "withheld"}]},
            {"name": "filled better", "mixture": ["real", {"source": "whole", "cells": "withheld"}]},
            {"name": "oracle", "mixture": ["real", "retrieved-all", "retrieved-withheld"]},
        ],
        "reference": "hole",
    }
    study = Study(parse_recipe(raw), tmp_path / "runs")
    lacking, whole = (study.dataset(name).trained for name in ("styles", "whole"))
    data = study.data
    assert lacking.folder != whole.folder
    assert [len(model.images) for model in (lacking, whole)] == [
        len(data.train) + len(data.retrieval),
        len(data.train) + len(data.retrieval) + len(data.withheld),
    ]
    checkpoints = {arm: study.plan.arm(arm) for arm in study.recipe.arm_names}
    assert len({planned.folder for planned in checkpoints.values()}) == 4
    study.train(study.runs())
    counts = {arm: planned.open_mixture().counts for arm, planned in checkpoints.items()}
    assert counts["filled"]["styles"] == counts["filled better"]["whole"] == 1  # the anchor in oil
    assert counts["oracle"]["retrieved-withheld"] == len(data.withheld)
    assert {*data.withheld.styles} == {"oil"} and {*data.withheld.labels.tolist()} == {data.labels.ids.index("anchor")}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"datasets": {"styles": {"from_scratch": True, "generator": {"styles": ["lead"]}}}}, "generator.styles"),
        ({"data": {"protocol": "leave-one-out", "left_out": "oil", "real": None}}, "class_model.images: pool: "),
    ],
)
def test_a_class_model_without_its_images_or_styles_is_refused(by_style, tmp_path, changes, key):
    changes = {name: {**by_style[name], **section} for name, section in changes.items()}
    study = Study(parse_recipe({**by_style, **changes}), tmp_path / "runs")
    with pytest.raises(UserError, match=key):
        study.rows()


def test_a_dataset_with_a_generator_of_its_own_has_that_one_fine_tuned(raw, tmp_path):
    other = shutil.copytree(embedded("generator"), tmp_path / "other")
    datasets = {"tuned": {"finetuned": True}, "other tuned": {"finetuned": True, "generator": {"model": str(other)}}}
    datasets["slow"] = {"finetuned": True, "generator": {"steps": 9}}
    arms = [REAL, *({"name": name, "mixture": name} for name in datasets)]
    study = Study(parse_recipe({**raw, "datasets": datasets, "arms": arms}), tmp_path / "runs")
    own, others, slow = (study.dataset(name).trained for name in datasets)
    assert slow.folder == own.folder, "one generator draws both"
    assert own.objective.base.model == raw["generator"]["model"] and others.objective.base.model == str(other)
    assert own.folder != others.folder


def test_a_lora_is_its_weights_alone(raw, tmp_path):
    folder = finetuned(raw, tmp_path / "runs", finetune={**raw["finetune"], "method": "lora"})
    assert folder.parent == tmp_path / "runs" / "finetuned"
    assert {p.name for p in folder.iterdir()} == {".lock", "manifest.json", "pytorch_lora_weights.safetensors"}
