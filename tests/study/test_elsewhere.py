"""Classifiers from elsewhere on a study's test sets, and a study's own classifiers by their arms."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from genrobust.cli import app

RECIPE = """
name: own
threads: 1
device: cpu
generator: null
data: {source: folders, train: train, val: train, test: test, shifts: {solid: {path: solid}}}
train: {architecture: test_resnet, image_size: 32, steps: 2, batch_size: 4, warmup_steps: 0}
arms: [{name: real, mixture: real}, {name: real again, mixture: real, train: {steps: 3}}]
quick: {train.steps: 1}
"""
CLASSES = {name: name for name in ("airplane", "bell", "camera")}


@pytest.fixture
def genrobust(write_folder, tmp_path, monkeypatch):
    """Runs a command in a folder with images of three classes and a recipe for them; one set has two of the classes."""
    monkeypatch.chdir(tmp_path)
    write_folder("train", "train", 4, CLASSES)
    write_folder("test", "test", 3, CLASSES)
    write_folder("solid", "solid", 3, {"Airplane": "airplane", "bell": "bell"})
    Path("own.yaml").write_text(RECIPE)
    return lambda *words: CliRunner().invoke(app, [str(w) for w in words])


def table(done):
    """The cells of the rows of a table, without its head."""
    assert done.exit_code == 0, done.output
    return [[cell.strip() for cell in row.split("│")[1:-1]] for row in done.stdout.splitlines() if row[:1] == "│"]


def test_any_classifier_is_scored_as_the_studys_own_are(genrobust, nameless):
    own = table(genrobust("evaluate", "own.yaml"))
    assert [row[:2] for row in own] == [["real", "0"], ["real again", "0"]]
    trained = genrobust("train", "own.yaml", "--arm", "real").stdout
    checkpoint = Path(trained.split(": ")[1].strip())
    assert genrobust("export-model", checkpoint, "--to", "timm", "--out", "mine").exit_code == 0
    Path("names.txt").write_text("airplane\nbell\ncamera\n")
    words = ["--models", "own.yaml:real", "--models", "mine", "--models", f"it={nameless(checkpoint)}"]
    others = table(genrobust("evaluate", "own.yaml", *words, "--labels", "it=names.txt"))
    assert others == [[name, *own[0][2:]] for name in ("real", "mine", "it")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--models", "own.yaml:rael"], "the recipe own has no arm 'rael'; the arms are real, real again"),
        (["--models", "other"], "does not know 1 of the 3 classes of this data: camera"),
        (["--models", "own.yaml", "--arm", "real"], "leave one out"),
        (["--labels", "names.txt"], "--models"),
    ],
)
def test_what_cannot_be_scored_is_said(genrobust, tmp_path, words, said):
    from genrobust.classifiers.checkpoints import CheckpointInfo
    from genrobust.classifiers.models import create_classifier, save_checkpoint

    info = CheckpointInfo("test_resnet", {}, ("airplane", "bell", "anchor"), 32, {})
    save_checkpoint(tmp_path / "other", create_classifier("test_resnet", 3, 32), info)
    done = genrobust("evaluate", "own.yaml", *words)
    assert (done.exit_code, said in " ".join(done.stderr.split())) == (2, True), done.output


def test_predict_asks_the_classifier_of_an_arm(genrobust):
    """Trained first where it is missing, and found again; of the quick version, another one."""
    answers = [genrobust("predict", "own.yaml:real", "solid", *more) for more in ([], [], ["--quick"])]
    assert [done.exit_code for done in answers] == [0, 0, 0], answers[0].output
    rows = [list(csv.DictReader(done.stdout.splitlines())) for done in answers]
    assert [row["path"].split("/")[0] for row in rows[0]] == ["Airplane"] * 3 + ["bell"] * 3
    assert answers[0].stdout == answers[1].stdout != answers[2].stdout
    assert "training real" in answers[0].stderr
    assert "training real" not in answers[1].stderr
    for words, said in (
        (["own.yaml"], "is a recipe of several classifiers: write own.yaml:ARM, one of real, real again"),
        (["own.yaml:rael"], "has no arm 'rael'"),
        (["model.onnx", "--quick"], "--quick: model.onnx"),
    ):
        done = genrobust("predict", *words[:1], "solid", *words[1:])
        assert (done.exit_code, said in " ".join(done.stderr.split())) == (2, True), done.output
