"""The recipe of a dataset goes along with its export, and a recipe's arm is a classifier wherever one is asked for."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from small_study import genrobust

from genrobust.report import number
from genrobust.tools.export.classifier import Origin, export_classifier
from genrobust.tools.export.format import FORMATS

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


def test_the_recipe_of_images_of_a_trained_generator_has_its_precision_and_the_card_its_images():
    mine = ["datasets.mine={from_scratch: true, generate: {per_class: 1}}"]
    mine += ["class_model={steps: 1, batch_size: 2, warmup_steps: 0, channels: [32, 32]}"]
    sets = [word for text in mine for word in ("--set", text)]
    genrobust("export", "own.yaml:mine", "--to", "imagefolder", "--run", "--out", "mine", *sets)
    text = Path("mine/recipe.yaml").read_text()
    assert "precision: auto" not in text and "dtype: auto" not in text
    genrobust("export", generate("own.yaml", "--dataset", "mine", *sets), "--to", "parquet", "--out", "nameless")
    for card in ("mine/README.md", "nameless/README.md"):
        assert "made from real ones, whose licenses" in Path(card).read_text()


def test_an_arm_of_a_recipe_judges_and_is_exported(own):
    dataset, arm = generate("own.yaml"), ("--classifier", "own.yaml:real", "--against", "train")
    words = ("audit", dataset, *arm, "--out", "page")
    assert "training" not in genrobust(*words, code=2, said="--run").stderr
    genrobust(*words, "--run", said="training real")
    (judged,) = json.loads(Path("page/audit.json").read_text())["judgments"]
    assert judged["judge"] == "the classifier"
    genrobust("export", "own.yaml:real", "--to", "timm", "--out", "mine", said="the card gives no accuracies")
    assert (Path("mine") / "model.safetensors").exists()
    genrobust("export", "own.yaml:rael", "--to", "timm", code=2, said="'rael'")


def test_the_card_has_the_scores_of_its_own_training():
    lines = [f"m{i},solid,{10 + 4 * i},{8 + 3 * i + i % 3}" for i in range(10)]
    Path("lines.csv").write_text("\n".join(["model,test_set,clean,shifted", *lines]))
    varied = ("--set", "robustness.baselines=lines.csv", "--set", "evaluate.crop_pct=0.8")
    genrobust("run", "own.yaml", *varied)
    assert "resized to 40 px" in genrobust("predict", "own.yaml:real", "test", *varied).stderr

    done = genrobust("export", "own.yaml:real", "--to", "timm", "--out", "my_model", *varied)
    assert "no accuracies" not in done.stderr
    (path,) = Path("runs").glob("own+*/results.json")
    raw, text = json.loads(path.read_text()), Path("my_model/README.md").read_text()
    table = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert (
        "resized to 40 px" in text
        and json.loads(Path("my_model/config.json").read_text())["pretrained_cfg"]["crop_pct"] == 0.8
    )
    scores = {of.dataset_name: of.metric_value for of in ModelCard(text).data.eval_results}
    rows = [row for row in raw["summary"]["scores"] if (row["arm"], row["seed"]) == ("real", 0)]
    shown = [row for row in rows if row["metric"] in ("top1", "er") and row["test_set"] in ("test", "solid")]
    assert len(shown) == 3 and r"# my\_model" in text
    for row in shown:
        line = table["test (clean)" if row["test_set"] == "test" else row["test_set"]]
        value, lo = (number(row[key], row["metric"] == "er") for key in ("value", "lo"))
        assert f"{value} ({lo}" in line
        if row["metric"] == "top1":
            assert scores.pop(row["test_set"]) == round(row["value"], 2)
            assert line.split("|")[2] == f" {row['n']} "
    assert not scores
    for n, checkpoint in enumerate(sorted(Path("runs/checkpoints").iterdir())):  # of both arms
        export_classifier(checkpoint, FORMATS.get("timm")(), Path(f"copy {n}"), origin=Origin(path, "real"))
    cards = [path.read_text() for path in Path().glob("copy */README.md")]
    other = [card for card in cards if "without the results of a study. Its top-1 on validation images was" in card]
    assert (len(cards), len(other)) == (2, 1)


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
