"""The recipe of a dataset goes along with its export, and a recipe's arm is a classifier wherever one is asked for."""

import json
from pathlib import Path

import pytest
from small_study import genrobust

pytestmark = pytest.mark.usefixtures("own_run")


def generate(*words):
    """Generates a dataset of the recipe; its folder, which the command names."""
    return Path(genrobust("generate", *words).stdout.split(" images in ")[1].strip())


def test_the_recipe_of_an_export_makes_the_same_images():
    dataset = generate("own.yaml", "--dataset", "better")
    genrobust("export", "own.yaml:better", "--to", "imagefolder", "--out", "given")
    assert "genrobust generate recipe.yaml --dataset better" in Path("given/README.md").read_text()
    again = generate("given/recipe.yaml", "--dataset", "better", "--out", "elsewhere")
    assert (again / "000000.tar").read_bytes() == (dataset / "000000.tar").read_bytes()
    genrobust("export", dataset, "--to", "parquet", "--out", "nameless")
    assert not Path("nameless/recipe.yaml").exists()


def test_an_arm_of_a_recipe_judges_and_is_exported(own):
    dataset, arm = generate("own.yaml"), ("--classifier", "own.yaml:real", "--against", "train")
    words = ("audit", dataset, *arm, "--out", "page")
    assert "training" not in genrobust(*words, code=2, said="--run").stderr
    genrobust(*words, "--run", said="training real")
    (judged,) = json.loads(Path("page/audit.json").read_text())["judgments"]
    assert judged["judge"] == "the classifier"
    genrobust("export", "own.yaml:real", "--to", "timm", "--out", "mine")
    assert (Path("mine") / "model.safetensors").exists()
    genrobust("export", "own.yaml:rael", "--to", "timm", code=2, said="'rael'")


def test_a_mistake_is_named_before_an_arm_is_trained(own):
    dataset = generate("own.yaml")
    Path("empty").mkdir()
    Path("taken").mkdir()
    Path("taken/notes.txt").write_text("mine")
    arm = ("--classifier", "own.yaml:real")
    for words, said in (
        (("predict", "own.yaml:real", "empty"), "empty holds no images"),
        (("export", "own.yaml:real", "--to", "tflite"), "'tflite'"),
        (("export", "own.yaml:real", "--to", "timm", "--out", "taken"), "taken is there already"),
        (("audit", dataset, "--against", "empty", *arm), "empty"),
        (("audit", dataset, "--against", "train", *arm, "--test", "x"), "--test x"),
        (("audit", dataset, "--against", "train", *arm, "--allow-leaks", "x"), "--allow-leaks x"),
    ):
        assert "training" not in genrobust(*words, code=2, said=said).stderr
