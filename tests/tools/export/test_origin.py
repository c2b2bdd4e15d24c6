"""The recipe of a dataset goes along with its export, and a recipe's arm is a classifier wherever one is asked for."""

import json
from pathlib import Path

import pytest
from small_study import OWN, genrobust

pytestmark = pytest.mark.usefixtures("own_run")


def generate(*words):
    """Generates a dataset of the recipe; its folder, which the command names."""
    return Path(genrobust("generate", *words).stdout.split(" images in ")[1].strip())


def test_the_recipe_of_an_export_makes_the_same_images():
    dataset = generate("own.yaml", "--dataset", "better")
    genrobust("export", dataset, "--to", "imagefolder", "--out", "given", "--recipe", "own.yaml")
    card = Path("given/README.md").read_text()
    assert "genrobust generate recipe.yaml --dataset better\n" in card and "--recipe recipe.yaml" in card
    again = generate("given/recipe.yaml", "--dataset", "better", "--out", "elsewhere")
    assert (again / "000000.tar").read_bytes() == (dataset / "000000.tar").read_bytes()


def test_a_recipe_of_other_images_is_refused_and_none_is_claimed():
    words = ["export", generate("own.yaml"), "--to", "parquet", "--out", "given"]
    for text, said in (
        (OWN.replace("per_class: 3", "per_class: 2"), "generated differs in plan; better differs in plan, steps"),
        (OWN.replace("{steps: 2}", "null").replace("datasets:", "#"), "it generates none"),
    ):
        Path("other.yaml").write_text(text)
        genrobust(*words, "--recipe", "other.yaml", code=2, said=said)
    genrobust(*words, "--recipe", "nowhere.yaml", code=2, said="nowhere.yaml")
    assert not Path("given").exists()
    genrobust(*words)
    assert "ask whoever published it" in Path("given/README.md").read_text()
    assert not Path("given/recipe.yaml").exists()


def test_a_tuned_generators_images_are_told_from_the_bases():
    tune = "finetune: {method: lora, steps: 1, warmup_steps: 0, batch_size: 2}\n"
    tuned = tune + OWN.replace("datasets: {", "datasets: {tuned: {finetuned: true}, ")
    Path("own.yaml").write_text(tuned)
    words = ["export", generate("own.yaml", "--dataset", "tuned"), "--to", "parquet", "--out", "given"]
    genrobust(*words, "--recipe", "own.yaml")
    assert "genrobust generate recipe.yaml --dataset tuned\n" in Path("given/README.md").read_text()
    Path("other.yaml").write_text(tuned.replace("method: lora, steps: 1", "method: lora, steps: 2"))
    genrobust(*words, "--overwrite", "--recipe", "other.yaml", code=2, said="tuned differs in lora")


def test_an_arm_of_a_recipe_judges_and_is_exported(own):
    dataset, arm = generate("own.yaml"), ("--classifier", "own.yaml:real", "--against", "train")
    words = ("filter", dataset, "--by", "classifier", *arm, "--drop", 0.34)
    assert "training" not in genrobust(*words, code=2, said="--run").stderr
    done = genrobust(*words, "--run", said="training real")
    assert "6 of 9 images kept" in done.stdout
    done = genrobust("audit", dataset, *arm, "--out", "page", "--runs", "runs")
    assert "training real" not in done.stderr
    (judged,) = json.loads(Path("page/audit.json").read_text())["judgments"]
    assert judged["judge"] == "the classifier"
    genrobust("export-model", "own.yaml:real", "--to", "timm", "--out", "mine")
    assert (Path("mine") / "model.safetensors").exists()
    genrobust("export-model", "own.yaml:rael", "--to", "timm", code=2, said="'rael'")


def test_a_mistake_is_named_before_an_arm_is_trained(own):
    dataset = generate("own.yaml")
    Path("empty").mkdir()
    Path("taken").mkdir()
    Path("taken/notes.txt").write_text("mine")
    arm = ("--classifier", "own.yaml:real")
    for words, said in (
        (("predict", "own.yaml:real", "empty"), "empty holds no images"),
        (("export-model", "own.yaml:real", "--to", "tflite"), "--to tflite"),
        (("export-model", "own.yaml:real", "--to", "timm", "--out", "taken"), "taken holds files that no export wrote"),
        (("filter", dataset, "--by", "classifier", *arm, "--drop", 5), "--drop"),
        (("filter", dataset, "--by", "classifier", *arm, "--drop", 0.1, "--against", "empty"), "empty"),
        (("audit", dataset, "--against", "train", *arm, "--test", "x"), "--test x"),
        (("audit", dataset, "--against", "train", *arm, "--allow-leaks", "x"), "--allow-leaks x"),
    ):
        assert "training" not in genrobust(*words, code=2, said=said).stderr
