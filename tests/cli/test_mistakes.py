"""Mistakes on the command line: each ends with exit code 2 and a short error that names the wrong word."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

MISTAKES = [  # command, what the error names; small.yaml is a recipe, made and images are empty folders
    ("run none.yaml", "none.yaml"),
    ("run pictogram", "did you mean pictograms or pictograms-full?"),
    ("run :x:.yaml", ":x:.yaml"),
    ("run small.yaml --set train.stepps=5", "train.stepps; did you mean steps?"),
    ("run small.yaml --set train.steps=0", "train.steps"),
    ("run small.yaml --set reference=none", "reference"),
    ("show small.yaml --set nonsense", "--set nonsense"),
    ("show small.yaml --set 'title=round #2'", "title=round #2: YAML takes what follows # for a comment"),
    ("show small.yaml --set train.steps=010", "train.steps: input should be a valid integer (got '010')"),
    ("show small.yaml --set arms=[]", "arms"),
    ("show small.yaml --quick", "--quick"),
    ("show small.yaml --set generator=null", "generator"),
    ("show small.yaml --prompts 1 --dataset nothing", "'nothing'"),
    ("show small.yaml --dataset generated", "--dataset is about prompts: add --prompts"),
    ("generate small.yaml --dataset nothing", "'nothing'"),
    ("generate small.yaml --address head:6379", "--address"),
    ("generate small.yaml --executor ray --workers 2", "--workers"),
    ("generate small.yaml --executor ray --address 127.0.0.1:1", "127.0.0.1:1"),
    ("generate small.yaml --set generator=null --set arms.1.mixture=real", "generator.model"),
    ("train small.yaml --arm rael", "the arms are real, [odd]"),
    ("train small.yaml --arm real --device abacus", "'abacus'"),
    ("train small.yaml --executor pbs", "'pbs'"),
    ("evaluate small.yaml --labels names.txt", "--labels"),
    ("evaluate small.yaml --arm real --models resnet18", "--arm real"),
    ("evaluate small.yaml --models none/model.onnx", "none/model.onnx"),
    ("init --train none --test none2", "--train: there is no none; --test: there is no none2 (below"),
    ("init --train images --test none --shift x", "--test: there is no none"),
    ("init --train images", "--test DIR"),
    ("init --train images --test images --runs s3://bucket/runs", "URL"),
    ("effective-robustness --id clean --shift shifted table.csv", "'shifted'"),
    ("effective-robustness --id clean --shift shifted none.csv", "none.csv"),
    ("audit none", "none"),
    ("audit made --labels names.txt", "--labels"),
    ("view made", "made"),
    ("view none", "none"),
    ("view small.yaml", "small.yaml:DATASET"),
    ("verify made", "made"),
    ("benchmark --models resnet18 --on none", "none"),
    ("benchmark --models resnet18 --on small.yaml", "small.yaml:DATASET"),
    ("export made --to nothing", "--to"),
    ("export made --to parquet", "manifest.json"),
    ("export none --to timm", "no finished checkpoint"),
    ("predict resnet18 images", "images holds no images"),
    ("predict resnet18 none", "cannot read the folder none"),
    ("predict resnet18 images --out answers.txt", "answers.txt: this output is CSV"),
]
USAGE = [  # found before the command starts
    ("nope", "nope"),
    ("run", "RECIPE"),
    ("run pictograms --nope", "--nope"),
]


@pytest.fixture
def folder(recipe: Path, tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "table.csv").write_text("model,clean\nresnet18,70.1\n")
    return tmp_path


@pytest.mark.parametrize(("line", "named"), MISTAKES + USAGE)
def test_a_mistake_is_named_in_three_lines_and_changes_nothing(
    genrobust: Callable[..., Result], folder: Path, line: str, named: str
) -> None:
    def files() -> dict[str, bytes | None]:
        return {str(p): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}

    before = files()
    done = genrobust(*shlex.split(line))
    assert done.exit_code == 2
    assert named in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    if (line, named) in USAGE:
        assert "Usage:" in done.stderr
    else:
        lines = [text for text in done.stderr.splitlines() if not text.startswith("· ")]
        assert lines[0].startswith("error: ") and len(lines) <= 3
    assert files() == before


def test_debug_adds_the_traceback(genrobust: Callable[..., Result]) -> None:
    done = genrobust("--debug", "show", "none.yaml")
    assert done.exit_code == 2
    assert "Traceback" in done.stderr and "UserError: " in done.stderr
    assert "\nerror: " in done.stderr


def test_a_failure_is_exit_code_1(genrobust: Callable[..., Result], recipe: Path) -> None:
    hopeless = {"steps": 2, "batch_size": 2, "learning_rate": "1e30", "warmup_steps": 0, "ema_decay": 0}
    hopeless |= {"optimizer": "sgd"}
    sets = [word for key, value in hopeless.items() for word in ("--set", f"train.{key}={value}")]
    done = genrobust("train", recipe, "--arm", "real", *sets)
    assert done.exit_code == 1
    assert "train.learning_rate" in done.stderr
    assert "Traceback" not in done.stderr
