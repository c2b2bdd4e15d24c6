"""A recipe's generator is fine-tuned on the recipe's real images, said in the recipe's own prompts, and once."""

import shutil
from pathlib import Path

import pytest
import yaml
from small_study import QUICK, REAL, folders_section, genrobust

from genrobust.core import Artifact, UserError, embedded
from genrobust.recipe import parse_recipe
from genrobust.study import Study


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
        "arms": [REAL],
    }


def finetuned(raw, out, log=print, **sections):
    stage = Study(parse_recipe({**raw, **sections}), out, say=log).graph.finetune()
    stage.run()
    return stage.trained.folder


def test_the_same_work_has_one_folder_and_is_done_once(raw, tiny_generator, tmp_path):
    said = []
    first = finetuned(raw, tmp_path / "runs", said.append)
    assert len(said) == 1 and "on 6 images of 2 classes, 2 steps" in said[0]
    record = Artifact(first).manifest().inputs
    assert (record["base"], record["images"], record["steps"]) == (tiny_generator.name, 6, 2)
    unet = first / "unet" / "diffusion_pytorch_model.safetensors"
    written = unet.stat().st_mtime_ns
    # How often it saves, how it is sampled afterwards and how classifiers train: none of it is another fine-tune.
    same = {"finetune": {**raw["finetune"], "save_every": 7}, "generator": raw["generator"] | {"steps": 3}}
    assert finetuned(raw, tmp_path / "runs", said.append, **same) == first
    assert len(said) == 1 and unet.stat().st_mtime_ns == written
    other = finetuned(raw, tmp_path / "runs", said.append, data_seed=1)
    assert other != first and other.parent == first.parent
    assert len(said) == 2


def test_without_a_generator_there_is_nothing_to_fine_tune(raw, tmp_path):
    with pytest.raises(UserError, match=r"small .*generator"):
        finetuned(raw, tmp_path, generator=None)


def test_a_dataset_with_a_generator_of_its_own_has_that_one_fine_tuned(raw, tmp_path):
    other = shutil.copytree(embedded("generator"), tmp_path / "other")
    datasets = {"tuned": {"finetuned": True}, "other tuned": {"finetuned": True, "generator": {"model": str(other)}}}
    arms = [REAL, *({"name": name, "mixture": name} for name in datasets)]
    study = Study(parse_recipe({**raw, "datasets": datasets, "arms": arms}), tmp_path / "runs")
    own, others = (study.dataset(name).trained for name in datasets)
    assert own.objective.base.model == raw["generator"]["model"] and others.objective.base.model == str(other)
    assert own.folder != others.folder


def test_the_command_prints_the_folder(raw, tmp_path):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(raw))
    words = ["train-generator", str(recipe), "--out", str(tmp_path / "runs"), "--set", "finetune.method=lora"]
    folder = Path(genrobust(*words).stdout.strip())
    assert folder.parent == tmp_path / "runs" / "finetuned"
    assert {p.name for p in folder.iterdir()} == {".lock", "manifest.json", "pytorch_lora_weights.safetensors"}
    genrobust(*words, "--set", "finetune.step=3", code=2, said="unknown key finetune.step; did you mean steps?")
