"""The recipe of a dataset goes along with its export, and a recipe's arm is a classifier wherever one is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from genrobust.cli import app

CLASSES = {name: name for name in ("airplane", "bell", "camera")}
RECIPE = """
name: own
threads: 1
device: cpu
generator: {steps: 2}
generate: {per_class: 3}
datasets: {better: {generator: {steps: 3}}}
data: {source: folders, train: train, val: train, test: test}
train: {architecture: test_resnet, image_size: 32, steps: 2, batch_size: 4, warmup_steps: 0}
arms: [{name: real, mixture: real}]
"""


@pytest.fixture
def genrobust(
    write_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs a command in a folder with images of three classes and a recipe for them."""
    monkeypatch.chdir(tmp_path)
    write_folder("train", "train", 4, CLASSES)
    write_folder("test", "test", 3, CLASSES)
    Path("own.yaml").write_text(RECIPE)
    return lambda *words: CliRunner().invoke(app, [str(w) for w in words])


def made(done: Result) -> Path:
    """The dataset that `generate` tells of."""
    assert done.exit_code == 0, done.output
    return Path(done.stdout.split(" images in ")[1].strip())


def refused(done: Result, said: str) -> None:
    assert (done.exit_code, said in " ".join(done.stderr.split())) == (2, True), done.output


def test_the_recipe_of_an_export_makes_the_same_images(genrobust: Callable[..., Result]) -> None:
    dataset = made(genrobust("generate", "own.yaml", "--dataset", "better"))
    done = genrobust("export", dataset, "--to", "imagefolder", "--out", "given", "--recipe", "own.yaml")
    assert done.exit_code == 0, done.output
    card = Path("given/README.md").read_text()
    assert "genrobust generate recipe.yaml --dataset better\n" in card and "--recipe recipe.yaml" in card
    again = made(genrobust("generate", "given/recipe.yaml", "--dataset", "better", "--out", "elsewhere"))
    assert (again / "000000.tar").read_bytes() == (dataset / "000000.tar").read_bytes()


def test_a_recipe_of_other_images_is_refused_and_none_is_claimed(genrobust: Callable[..., Result]) -> None:
    dataset = made(genrobust("generate", "own.yaml"))
    words = ["export", dataset, "--to", "parquet", "--out", "given"]
    Path("other.yaml").write_text(RECIPE.replace("per_class: 3", "per_class: 2"))
    refused(genrobust(*words, "--recipe", "other.yaml"), "generated: differs in plan better: differs in plan, steps")
    Path("none.yaml").write_text(RECIPE.replace("generator: {steps: 2}", "generator: null").replace("datasets:", "#"))
    refused(genrobust(*words, "--recipe", "none.yaml"), "it generates none")
    refused(genrobust(*words, "--recipe", "nowhere.yaml"), "nowhere.yaml")
    assert not Path("given").exists()
    assert genrobust(*words).exit_code == 0
    assert "ask whoever published it" in Path("given/README.md").read_text()
    assert not Path("given/recipe.yaml").exists()


def test_a_tuned_generators_images_are_told_from_the_bases(genrobust: Callable[..., Result]) -> None:
    tune = "finetune: {method: lora, steps: 1, warmup_steps: 0, batch_size: 2}\n"
    tuned = tune + RECIPE.replace("datasets: {", "datasets: {tuned: {finetuned: true}, ")
    Path("own.yaml").write_text(tuned)
    dataset = made(genrobust("generate", "own.yaml", "--dataset", "tuned"))
    words = ["export", dataset, "--to", "parquet", "--out", "given"]
    done = genrobust(*words, "--recipe", "own.yaml")
    assert done.exit_code == 0, done.output
    assert "genrobust generate recipe.yaml --dataset tuned\n" in Path("given/README.md").read_text()
    Path("other.yaml").write_text(
        Path("own.yaml").read_text().replace("method: lora, steps: 1", "method: lora, steps: 2")
    )
    refused(genrobust(*words, "--overwrite", "--recipe", "other.yaml"), "tuned: differs in lora")


def test_an_arm_of_a_recipe_judges_and_is_exported(genrobust: Callable[..., Result]) -> None:
    dataset = made(genrobust("generate", "own.yaml"))
    done = genrobust(
        "filter", dataset, "--by", "classifier", "--classifier", "own.yaml:real", "--drop", 0.34, "--against", "train"
    )
    assert done.exit_code == 0 and "training real" in done.stderr, done.output
    assert "6 of 9 images kept" in done.stdout
    done = genrobust(
        "audit", dataset, "--against", "train", "--classifier", "own.yaml:real", "--out", "page", "--runs", "runs"
    )
    assert done.exit_code == 0 and "training real" not in done.stderr, done.output
    (judged,) = json.loads(Path("page/audit.json").read_text())["judgements"]
    assert judged["judge"] == "the classifier"
    done = genrobust("export-model", "own.yaml:real", "--to", "timm", "--out", "mine")
    assert done.exit_code == 0, done.output
    assert (Path("mine") / "model.safetensors").exists()
    refused(genrobust("export-model", "own.yaml:rael", "--to", "timm"), "has no arm 'rael'")


def test_a_mistake_is_told_before_an_arm_is_trained(genrobust: Callable[..., Result]) -> None:
    dataset = made(genrobust("generate", "own.yaml"))
    Path("empty").mkdir()
    Path("taken").mkdir()
    Path("taken/notes.txt").write_text("mine")
    arm = ("--classifier", "own.yaml:real")
    for words, said in (
        (("predict", "own.yaml:real", "empty"), "empty holds no images"),
        (("export-model", "own.yaml:real", "--to", "tflite"), "exported to timm or onnx"),
        (("export-model", "own.yaml:real", "--to", "timm", "--out", "taken"), "taken holds notes.txt"),
        (("filter", dataset, "--by", "classifier", *arm, "--drop", 5), "--drop takes a share between 0 and 1"),
        (("filter", dataset, "--by", "classifier", *arm, "--drop", 0.1, "--against", "empty"), "empty"),
        (("audit", dataset, "--against", "train", *arm, "--test", "x"), "write NAME=DIR"),
        (("audit", dataset, "--against", "train", *arm, "--allow-leaks", "x"), "no such test set"),
    ):
        done = genrobust(*words)
        refused(done, said)
        assert "training" not in done.stderr
