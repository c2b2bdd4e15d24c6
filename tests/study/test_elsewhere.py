"""Classifiers from elsewhere on a study's test sets, and a study's own classifiers by their arms."""

import csv
from pathlib import Path

import pytest
from small_study import genrobust

from genrobust.classifiers import CheckpointInfo, create_classifier, save_checkpoint


def table(done):
    """The cells of the rows of a table, without its head."""
    return [[cell.strip() for cell in row.split("│")[1:-1]] for row in done.stdout.splitlines() if row[:1] == "│"]


@pytest.mark.usefixtures("own_run")
def test_any_classifier_is_scored_as_the_studys_own_are(nameless):
    own = table(genrobust("evaluate", "own.yaml"))
    assert [row[:2] for row in own] == [["real", "0"], ["real again", "0"]]
    trained = genrobust("train", "own.yaml", "--arm", "real").stdout
    checkpoint = Path(trained.split(": ")[1].strip())
    genrobust("export", checkpoint, "--to", "timm", "--out", "mine")
    Path("names.txt").write_text("airplane\nbell\ncamera\n")
    words = ["--models", "own.yaml:real", "--models", "mine", "--models", f"it={nameless(checkpoint)}"]
    others = table(genrobust("evaluate", "own.yaml", *words, "--labels", "names.txt"))
    assert others == [[name, *own[0][2:]] for name in ("real", "mine", "it")]


@pytest.mark.usefixtures("own")
def test_a_classifier_of_other_classes_is_refused(tmp_path):
    info = CheckpointInfo("test_resnet", {}, ("airplane", "bell", "anchor"), 32, {})
    save_checkpoint(tmp_path / "other", create_classifier("test_resnet", 3, 32), info)
    genrobust("evaluate", "own.yaml", "--models", "other", code=2, said="camera")


@pytest.mark.usefixtures("own")
def test_predict_asks_the_classifier_of_an_arm():
    """Trained first with --run where it is missing, and found again; of the quick version, another one."""
    calls = (["--run"], [], ["--quick", "--run"])
    answers = [genrobust("predict", "own.yaml:real", "solid", *more) for more in calls]
    rows = [list(csv.DictReader(done.stdout.splitlines())) for done in answers]
    assert [row["path"].split("/")[0] for row in rows[0]] == ["Airplane"] * 3 + ["bell"] * 3
    assert answers[0].stdout == answers[1].stdout != answers[2].stdout
    assert "training real" in answers[0].stderr
    assert "training real" not in answers[1].stderr
    renamed = genrobust("predict", "own.yaml:real", "solid", "--set", "data.class_names={bell: church bell}").stdout
    renamed_rows = list(csv.DictReader(renamed.splitlines()))
    assert {(row["class_1"], row.pop("name_1")) for row in renamed_rows} >= {("bell", "church bell")}
    assert [{key: row[key] for key in rows[0][0]} for row in renamed_rows] == rows[0]
    for words, said in (
        (["own.yaml"], "is a recipe of several classifiers: write own.yaml:ARM, one of real, real again"),
        (["own.yaml:rael"], "has no arm 'rael'"),
        (["model.onnx", "--quick"], "model.onnx names none"),
    ):
        genrobust("predict", *words[:1], "solid", *words[1:], code=2, said=said)
