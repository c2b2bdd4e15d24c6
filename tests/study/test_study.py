"""A study with two generated datasets, all the way: what is shared is made once, and a change redoes what it must."""

import os
from collections import Counter
from dataclasses import replace

import pytest
from refusals import refused
from small_study import QUICK, REAL, TRAIN, files

from genrobust.core import UserError
from genrobust.recipe import FilterConfig, parse_recipe
from genrobust.store import Artifact, read_page_json
from genrobust.study import Executor, Study, disk
from genrobust.study.steps.filter import Filter

CLASSES = 10
RECIPE = {
    **QUICK,
    "data": {"classes": {"count": CLASSES, "seed": 0}},
    "generator": {"steps": 1},
    "generate": {"per_class": 2, "batch_size": 100},
    "datasets": {
        "plain": {"generate": {"per_class": 1, "prompts": {"strategy": "single"}}},
        "redrawn": {"generator": {"mode": "labels+images", "steps": 2}, "generate": {"per_class": 1}},
        "sure": {"filter": {"drop": 0.5}},
        "unused": {"generator": {"steps": 3}},
    },
    "train": TRAIN,
    "arms": [
        REAL,
        {"name": "styled", "mixture": ["real", "generated"]},
        {"name": "plain", "mixture": [{"source": "real", "weight": 1}, {"source": "plain", "weight": 2}]},
        {"name": "redrawn", "mixture": "redrawn"},
        {"name": "sure", "mixture": "sure"},
        {"name": "retrieved", "mixture": ["real", "retrieved"]},
    ],
    "evaluate": {"tests": ["hand-drawn"], "min_images": 5},
    "robustness": {"baselines": None, "bootstrap": 100},
}


@pytest.fixture
def study(tiny_generator, tmp_path):
    tiny = {"generator": {"model": str(tiny_generator), "steps": 1}}
    return lambda **change: Study(parse_recipe(RECIPE | tiny | change), tmp_path, executor=Executor())


def test_each_dataset_is_made_once_and_a_second_run_makes_nothing(study, tmp_path):
    first = study()
    datasets = {name: first.dataset(name) for name in ("generated", "plain", "redrawn", "sure")}
    before = first.rows()  # the classifier that judges the images of "sure" comes before its filter
    assert not any(row.done for row in before)
    assert [(row.stage, row.name, row.total) for row in before] == [
        ("train", "real, seed 0", 2),
        ("generate", "generated", 2 * CLASSES),
        ("generate", "plain", CLASSES),
        ("generate", "redrawn", CLASSES),
        ("filter", "sure", 2 * CLASSES),
        *(("train", f"{arm}, seed 0", 2) for arm in ("styled", "plain", "redrawn", "sure", "retrieved")),
        ("evaluate", "every classifier", 6 * sum(len(first.data.tests[name]) for name in ("hand-drawn", "test"))),
    ]
    named = {step.folder for row in before for step in row.steps}
    summary, written = first.run()
    arms = read_page_json(written["results.json"])["arms"]
    assert {arm["name"]: list(arm["seconds"]) for arm in arms} == {
        "real": ["train"],
        "styled": ["generate", "train"],
        "plain": ["generate", "train"],
        "redrawn": ["generate", "train"],
        "sure": ["generate", "train", "filter"],  # with the training of the classifier that judges
        "retrieved": ["train"],
    }
    assert all(seconds > 0 for arm in arms for seconds in arm["seconds"].values())
    assert all(0 <= arm["val_top1"] <= 100 for arm in arms)
    assert all(folder is not None and folder.exists() for folder in named)  # names are known before anything is made
    assert summary.arms == ("real", "styled", "plain", "redrawn", "sure", "retrieved")
    assert len(list((tmp_path / "generated").iterdir())) == 3  # an unused dataset is not made
    assert Counter(datasets["plain"].open().labels.tolist()) == dict.fromkeys(range(CLASSES), 1)
    assert set(datasets["plain"].open().styles) != set(datasets["generated"].open().styles)
    sure = first.images("sure")  # half of each class of the very images of "generated", which are made once
    assert Counter(sure.labels.tolist()) == dict.fromkeys(range(CLASSES), 1)
    assert set(sure.keys) < set(first.images("generated").keys)
    sources = datasets["redrawn"].open().metadata()["source"].to_pylist()
    assert set(sources) <= set(first.data.train.keys)  # the real training split, and no other
    wanted = Counter(datasets["generated"].open().labels.tolist())
    assert Counter(first.images("retrieved").labels.tolist()) == wanted
    assert Counter(first.images("retrieved-by-class").labels.tolist()) == wanted

    stages = ("generated", "checkpoints", "predictions", "filters")
    made = {stage: files(tmp_path / stage) for stage in stages}
    again = study()
    assert not any(row.left for row in again.rows())
    reports = [written["report.md"].read_text().splitlines()[:-1] for _, written in (again.run(), again.run())]
    assert {stage: files(tmp_path / stage) for stage in stages} == made
    assert reports[0] == reports[1]  # whose notes are not doubled; the last line has the date


def test_the_first_accuracy_is_logged_before_anything_is_generated(tiny_generator, tmp_path):
    change = {"generator": {"model": str(tiny_generator), "steps": 1}, "arms": RECIPE["arms"][:2]}
    recipe = parse_recipe(RECIPE | change)
    generated: list[bool] = []
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        generated.append((tmp_path / "generated").exists())

    study = Study(recipe, tmp_path, say=say, executor=Executor())
    study.make()
    results = {line.partition(":")[0]: place for place, line in enumerate(lines) if "% right on" in line}
    assert [*results] == ["real, seed 0", "styled, seed 0"]
    assert str(len(study.data.val)) in lines[results["real, seed 0"]]
    assert not generated[results["real, seed 0"]] and generated[results["styled, seed 0"]]


def test_a_classifier_of_other_images_is_refused(study, tmp_path):
    made = study(arms=RECIPE["arms"][:2])
    runs = made.runs("styled")
    (folder,) = made.train(runs)
    manifest = Artifact(folder).manifest()
    training = {**manifest.about["training"], "mixture": "another"}  # a shard was drawn again with other pixels
    Artifact(folder).publish(replace(manifest, about={**manifest.about, "training": training}))
    with pytest.raises(UserError, match=rf"styled, seed 0: the images in real, generated .* {folder} was trained on"):
        study(arms=RECIPE["arms"][:2]).train(runs)


@pytest.mark.thorough
def test_packed_copies_are_a_stage_of_their_own(study):
    made = study(
        data={**RECIPE["data"], "packed": True},
        train=RECIPE["train"] | {"crop": "random-resized"},
        arms=[REAL, {"name": "both", "mixture": ["real", "generated"]}],
    )
    real = len(made.data.train)

    def packing():
        return [(row.name, row.total, row.done) for row in made.rows() if row.stage == "pack"]

    assert packing() == [("real", real, 0), ("generated", 2 * CLASSES, 0)]
    assert disk(made.rows()) > 0
    _, written = made.run()
    assert packing() == []  # no training is left that would read them
    assert disk(made.rows()) == 0
    stages = read_page_json(written["results.json"])["stages"]
    assert {stage["stage"]: stage["items"] for stage in stages}["pack"] == real + 2 * CLASSES


def test_a_changed_dataset_redoes_only_its_own_arm_and_what_workers_take_of_a_cluster_nothing(study):
    def folders(**change):
        made = study(**change)
        datasets = {name: made.dataset(name).folder for name in ("generated", "plain", "unused", "redrawn")}
        return datasets | {"real": made.plan.classifier(*made.runs("real")).folder}

    before = folders()
    datasets = RECIPE["datasets"] | {"plain": {"generate": {"per_class": 1, "prompts": {"negative_prompt": "gray"}}}}
    after = folders(datasets=datasets)
    assert [name for name in before if before[name] != after[name]] == ["plain"]
    assert len(set(before.values())) == 5
    assert folders(execute={"executor": "ray", "num_cpus": 7, "num_gpus": 0.5}) == before


def test_another_clip_of_the_same_size_filters_anew(study, tmp_path):
    judge, made = tmp_path / "clip", study()
    judge.mkdir()
    (judge / "config.json").write_text("{}")
    rule = FilterConfig(by="clip", clip=str(judge), drop=0.5)
    found = []
    for nanoseconds, weights in enumerate((b"one", b"two")):
        (judge / "model.safetensors").write_bytes(weights)
        os.utime(judge / "model.safetensors", ns=(nanoseconds, nanoseconds))
        found.append(Filter(made.context, made.dataset("sure"), rule, judge).folder)
    assert found[0] != found[1]
    elsewhere = judge.rename(tmp_path / "other")
    rule = FilterConfig(by="clip", clip=str(elsewhere), drop=0.5)
    assert Filter(made.context, made.dataset("sure"), rule, elsewhere).folder == found[1]


def test_a_dataset_of_another_data_seed_has_the_same_requests_with_other_noise(study):
    datasets = {"again": {"data_seed": 1}, "same": {"data_seed": 0}}
    made = study(datasets=datasets, arms=RECIPE["arms"][:2])
    own, again, same = (made.dataset(name) for name in ("generated", "again", "same"))
    assert same.folder == own.folder != again.folder
    assert [r.key for r in again.plan] == [r.key for r in own.plan]
    assert not {r.seed for r in again.plan} & {r.seed for r in own.plan}


def test_a_recipe_that_was_built_in_python_is_checked(tmp_path):
    recipe = parse_recipe(RECIPE)
    with refused("reference", "'unknown'"):
        Study(recipe.model_copy(update={"reference": "unknown"}), tmp_path)
