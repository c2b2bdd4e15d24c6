"""The commands as a user types them: help, errors and exit codes, and own folders all the way to a report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from genrobust import __version__
from genrobust.cli import app
from genrobust.recipe.load import load_recipe, recipe_names
from genrobust.study.executors.local import Local
from genrobust.study.study import Study

STAGES = ("plan", "generate", "finetune", "train", "evaluate", "report")
COMMANDS = ("run", "show", *STAGES, "init", "er", "audit", "filter", "benchmark", "verify", "doctor", "recipes")


@pytest.fixture
def genrobust(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(w) for w in words])


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\nthreads: 1\ngenerate: {per_class: 2}\n"
        "train: {architecture: test_resnet, image_size: 32, batch_size: 8, precision: float32}\narms:\n"
        "  - {name: real, mixture: real}\n  - {name: '[odd]', mixture: generated}\n"
    )
    return path


def test_help_names_every_command(genrobust: Callable[..., Result]) -> None:
    done = genrobust("--help")
    assert done.exit_code == 0
    assert [c for c in COMMANDS if c not in done.stdout] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(genrobust: Callable[..., Result], command: str) -> None:
    done = genrobust(command, "-h")
    assert done.exit_code == 0
    assert f" {command} [OPTIONS]" in done.stdout


def test_version(genrobust: Callable[..., Result]) -> None:
    done = genrobust("--version")
    assert (done.exit_code, done.stdout) == (0, f"genrobust {__version__}\n")


def test_doctor_knows_what_runs_it(genrobust: Callable[..., Result]) -> None:
    done = genrobust("doctor")
    assert done.exit_code == 0
    assert f"genrobust {__version__}" in " ".join(done.stdout.split())
    assert "disk for runs" in done.stdout


@pytest.mark.parametrize("command", [["doctor"], ["init", "--train", "images", "--test", "images"]])
def test_a_url_is_refused_where_a_folder_is_wanted(
    genrobust: Callable[..., Result], write_folder: Callable[..., Path], command: list[str], tmp_path: Path
) -> None:
    images = write_folder("images", "train", 2, {"airplane": "airplane", "bell": "bell"})
    done = genrobust(*(str(images) if word == "images" else word for word in command), "--out", "s3://bucket/runs")
    assert done.exit_code == 2 and "a folder is wanted here" in " ".join(done.stderr.split())
    assert not list(Path().glob("s3:*"))


def test_recipes_lists_the_installed_ones(genrobust: Callable[..., Result]) -> None:
    lines = genrobust("recipes").stdout.splitlines()
    assert [line.split()[0] for line in lines] == recipe_names()


def test_plan_prints_keys_seeds_and_prompts(genrobust: Callable[..., Result], recipe: Path) -> None:
    done = genrobust("plan", recipe, "--count", 3)
    assert done.exit_code == 0
    assert "3 of 200 requests" in done.stdout
    assert "airplane-000000" in done.stdout
    again = genrobust("plan", recipe, "--count", 3, "--set", "generate.per_class=7").stdout
    assert again == done.stdout.replace("3 of 200", "3 of 700")


def test_plan_tells_real_images_and_filters(genrobust: Callable[..., Result], recipe: Path) -> None:
    with recipe.open("a") as file:
        file.write("datasets:\n  sure: {generator: {mode: images}, filter: {drop: 0.3}}\n")
    made = Study(load_recipe(str(recipe)), Path("runs")).dataset("sure")
    told = genrobust("plan", recipe, "--dataset", "sure", "--count", 1).stdout
    assert made.plan[0].source in told
    assert "the lowest 30 % of each class, by the classifier of the arm real" in " ".join(told.split())
    assert "real image" not in genrobust("plan", recipe).stdout


def test_show_tells_what_would_run(genrobust: Callable[..., Result], recipe: Path, tmp_path: Path) -> None:
    done = genrobust("show", recipe, "--set", "train.steps=77", "--set", "datasets.[more]={}")
    assert done.exit_code == 0
    assert done.stdout.count("0 of 77 steps") == 2
    assert "[odd], seed 0" in done.stdout
    assert "GB free for runs" in done.stdout
    assert "no arm mixes [more]; " in done.stdout
    assert "threads" not in done.stdout
    assert not (tmp_path / "runs").exists()


def test_show_prints_a_recipe_that_reads_again(genrobust: Callable[..., Result], recipe: Path, tmp_path: Path) -> None:
    done = genrobust("show", recipe, "--set", "train.steps=77", "--set", "arms.1.mixture=real", "--yaml")
    assert done.exit_code == 0
    (tmp_path / "again.yaml").write_text(done.stdout)
    asked = load_recipe(str(recipe), ["train.steps=77", "arms.1.mixture=real"])
    assert load_recipe("again.yaml") == Local().placed(asked), "with what auto stands for"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "none.yaml"], "cannot read the recipe none.yaml"),
        (["run", "pictogram"], "did you mean pictograms?"),
        (["run", "small.yaml", "--set", "train.stepps=5"], "unknown key train.stepps; did you mean steps?"),
        (["run", "small.yaml", "--set", "train.steps=0"], "greater than 0"),
        (["show", "small.yaml", "--set", "nonsense"], "write key=value"),
        (["show", "small.yaml", "--quick"], "no quick section"),
        (["train", "small.yaml", "--arm", "rael"], "the recipe small has no arm 'rael'; the arms are real, [odd]"),
        (["train", "small.yaml", "--arm", "real", "--device", "abacus"], "no device 'abacus'"),
        (["train", "small.yaml", "--executor", "slurm"], "no executor 'slurm'; there are processes, ray"),
        (["generate", "small.yaml", "--address", "head:6379"], "is that of a Ray cluster: give --executor ray too"),
        (
            ["generate", "small.yaml", "--shards", "0/4"],
            "write K/N, part K of N, the first of which is 1",
        ),
        (["train", "small.yaml", "--cells", "3"], "--cells 3: write K/N"),
        (["generate", "small.yaml", "--set", "generator=null", "--set", "arms.1.mixture=real"], "the recipe has none"),
        (["show", "small.yaml", "--set", "generator=null"], "neither a generator nor data.generated"),
        (["init", "--train", "none", "--test", "none2"], "cannot read the folder none"),
        (["init", "--train", "none", "--test", "t", "--shift", "x"], "write NAME=DIR"),
        (["init", "--train", "none"], "--test DIR"),
    ],
)
def test_a_mistake_is_said_in_a_line_with_exit_code_2(
    genrobust: Callable[..., Result], recipe: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    before = recipe.read_bytes()
    done = genrobust(*words)
    assert done.exit_code == 2
    told = [line for line in done.stderr.splitlines() if not line.startswith("· precision: ")]
    assert told[0].startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert recipe.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["small.yaml"]


@pytest.mark.parametrize("words", [["nope"], ["run"], ["run", "pictograms", "--nope"], ["plan", "x", "--count", "0"]])
def test_wrong_usage_is_exit_code_2(genrobust: Callable[..., Result], words: list[str]) -> None:
    done = genrobust(*words)
    assert done.exit_code == 2
    assert "Usage:" in done.stderr


def test_debug_adds_the_traceback(genrobust: Callable[..., Result]) -> None:
    done = genrobust("--debug", "show", "none.yaml")
    assert done.exit_code == 2
    assert "Traceback" in done.stderr
    assert "UserError: cannot read the recipe none.yaml" in done.stderr
    assert "\nerror: cannot read the recipe none.yaml" in done.stderr


def test_a_failure_is_exit_code_1(genrobust: Callable[..., Result], recipe: Path, tmp_path: Path) -> None:
    words = ["train", recipe, "--arm", "real", "--set", "train.steps=2", "--set", "train.batch_size=2"]
    hopeless = ["--set", "train.learning_rate=1e30", "--set", "train.warmup_steps=0", "--set", "train.ema_decay=0"]
    done = genrobust(*words, *hopeless, "--set", "train.optimizer=sgd")
    assert done.exit_code == 1
    assert "lower train.learning_rate" in done.stderr
    assert "Traceback" not in done.stderr


def listens_to_ctrl_c() -> None:
    """In the child: a background job, such as a test run started by nohup, ignores SIGINT and hands that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to a process there")
def test_ctrl_c_says_that_nothing_is_lost(recipe: Path, tmp_path: Path) -> None:
    words = ["train", "small.yaml", "--arm", "real", "--set", "train.steps=100000", "--set", "train.save_every=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "genrobust", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listens_to_ctrl_c,
    )
    deadline = time.monotonic() + 300  # it may wait for a busy machine, and must not wait for ever
    while not list(tmp_path.glob("runs/checkpoints/*/state.safetensors")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted: what is finished is kept" in stderr
    assert "Traceback" not in stderr
    assert len(list(tmp_path.glob("runs/checkpoints/*/state.safetensors"))) == 1


def test_own_folders_to_a_report(
    genrobust: Callable[..., Result], write_folder: Callable[..., Path], tmp_path: Path
) -> None:
    classes = {name: name for name in ("airplane", "bell", "camera")}
    write_folder("train", "train", 8, classes)
    write_folder("test", "test", 4, classes)
    write_folder("solid", "solid", 4, {"Airplane": "airplane", "bell": "bell"})
    write_folder("made", "emoji", 4, classes)
    started = genrobust(
        "init", "--train", "train", "--val", "test", "--shift", "solid=solid", "--generated", "made", "--no-check"
    )
    assert started.exit_code == 0
    assert "no --test, so test is the unshifted test set" in started.stdout

    # two baselines make no line, which must not cost the report
    settings = ("train.steps=4", "train.architecture=test_resnet", "train.precision=float32", "threads=1")
    settings += ("robustness.bootstrap=20", "robustness.grid=2")
    tiny = ["--quick", *(word for setting in settings for word in ("--set", setting))]
    done = genrobust("run", "study.yaml", *tiny)
    assert done.exit_code == 0, done.stderr
    assert "0 of 4 steps" in done.stderr
    folder = tmp_path / "runs" / "study-quick"
    assert {p.name for p in folder.iterdir()} >= {"report.html", "report.md", "results.csv", "results.json"}
    assert str(Path("runs/study-quick/report.html")) in done.stdout
    assert "No baseline line for solid: " in (folder / "report.md").read_text()
    results = json.loads((folder / "results.json").read_text())
    assert [arm["name"] for arm in results["arms"]] == ["real", "real+randaugment", "generated", "real+generated"]

    checkpoints = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/checkpoints/*/*")}
    shown = genrobust("show", "study.yaml", *tiny)
    assert shown.stdout.count("4 of 4 steps") == 4
    assert "left:" not in shown.stdout
    scored = genrobust("evaluate", "study.yaml", *tiny, "--arm", "real")
    assert scored.exit_code == 0
    assert "solid" in scored.stdout
    (folder / "report.html").unlink()
    again = genrobust("report", "study.yaml", *tiny)
    assert again.exit_code == 0
    assert "missing" not in again.stderr
    assert (folder / "report.html").stat().st_size > 10_000
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/checkpoints/*/*")} == checkpoints
