"""`genrobust run pacs` and `pacs-diffusion` all the way on a CPU: PACS in miniature, and tiny generators."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_study import genrobust

CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
DOMAINS = ("photo", "art_painting", "cartoon", "sketch")
EACH = 10  # images of a class in a domain
SHORT = {
    "seeds": "[0]",
    "train.steps": 2,
    "train.batch_size": 8,
    "robustness.grid": 4,
    "robustness.bootstrap": 100,
    "evaluate.min_images": 1,
}
TINY_MODEL = {"channels": "[32, 32]", "steps": 2, "warmup_steps": 1, "batch_size": 4}


@pytest.fixture(scope="module")
def unpacked(pictogram_data, tmp_path_factory) -> Path:
    """Icons in the folders of PACS."""
    root = tmp_path_factory.mktemp("pacs")
    pool = pictogram_data.retrieval
    places = iter(np.random.default_rng(0).permutation(len(pool)).tolist())
    for domain in DOMAINS:
        for name in CLASSES:
            folder = root / "kfold" / domain / name
            folder.mkdir(parents=True)
            for number in range(EACH):
                pool.image(next(places)).save(folder / f"pic_{number:03}.png")
    return root


def words(values):
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def ran(recipe, out, root, **values):
    short = {**SHORT, "name": recipe, "data.root": root, **values}
    done = genrobust("run", recipe, "--device", "cpu", "--out", str(out), *words(short))
    return {**json.loads((out / recipe / "results.json").read_text()), "log": done.stderr}


@pytest.mark.thorough
def test_pacs_runs_from_the_unpacked_folder_to_its_claims(unpacked, tmp_path):
    small = {f"class_model.{key}": value for key, value in TINY_MODEL.items()}
    small |= {"datasets.by style.generate.per_class": 4, "generator.steps": 2}
    results = ran("pacs", tmp_path / "runs", unpacked, **small)
    assert len(results["claims"]) == 9
    assert (results["summary"]["clean"], *results["summary"]["shifts"]) == DOMAINS


@pytest.mark.thorough
def test_pacs_diffusion_runs_with_tiny_generators(unpacked, tiny_generator, tmp_path):
    tiny = f"{{model: {tiny_generator}, variant: null, scheduler: null, steps: 2, guidance_scale: 2.0}}"
    small = {"generator": tiny, "datasets.turbo.generator": tiny, "datasets.klein.generator": tiny}
    results = ran("pacs-diffusion", tmp_path / "runs", unpacked, **small, **{"generate.per_class": 4})
    assert len(results["claims"]) == 7


@pytest.mark.thorough
def test_pacs_without_a_domain_runs_to_its_answer(unpacked, tmp_path):
    small = {"data.left_out": "cartoon", "robustness.grid": 0, "train.image_size": 32, "train.validate_every": 1}
    results = ran("pacs-leave-one-out", tmp_path / "runs", unpacked, **small)
    assert (results["summary"]["clean"], results["summary"]["shifts"]) == ("test", ["cartoon"])
    assert results["log"].count("pretrained on images of 224 px") == 1, "three arms start from one network"


def test_the_recipes_name_the_folder_that_they_need(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for recipe in ("pacs", "pacs-diffusion", "pacs-leave-one-out"):
        genrobust("run", recipe, code=2, said="PACS")
