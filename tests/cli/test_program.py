"""The commands as a user types them: help, output, Ctrl-C, and own folders all the way to a report."""

from __future__ import annotations

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, get_args, get_origin

import pytest
import typer
from small_study import listens_to_ctrl_c, parsed
from typer.testing import Result

from genrobust import __version__
from genrobust.cli import app
from genrobust.cli.program import GROUPS
from genrobust.recipe.load import load_recipe, recipe_names
from genrobust.study.executors.executor import Executor
from genrobust.study.study import Study

Run = Callable[..., Result]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_help_and_version(genrobust: Run) -> None:
    assert genrobust("--version").stdout == f"genrobust {__version__}\n"
    done = genrobust("--help")
    assert [c for c in COMMANDS if c not in done.stdout] == []
    assert len(COMMANDS) <= 18


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(genrobust: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = genrobust(command, "-h")
    assert done.exit_code == 0
    assert f" {command} [OPTIONS]" in done.stdout
    assert "…" not in done.stdout, "a cell is cut off"
    (example,) = re.findall(r"^Example: (genrobust .*)$", inspect.getdoc(COMMANDS[command].callback) or "", flags=re.M)
    assert parsed(example)[0] == command
    assert COMMANDS[command].rich_help_panel in GROUPS


def test_commands_of_a_study_share_their_options() -> None:
    options = {name: [option for p in command.params for option in p.opts] for name, command in COMMANDS.items()}
    shared = ["recipe", "--set", "--out", "--runs", "--quick", "--device", "--executor", "--workers", "--address"]
    assert {*options["run"]} == {*shared}
    for name in ("show", "generate", "train", "evaluate"):
        assert {*shared} <= {*options[name]}
        assert any({"--out", "--runs"} <= {*p.opts} for p in COMMANDS[name].params), "two names of one option"
    for name in ("predict", "export", "audit", "benchmark"):
        assert {"--set", "--quick", "--run", "--runs"} <= {*options[name]}


def test_every_number_of_an_option_has_bounds() -> None:
    params = {
        f"{name} {key}": of.annotation
        for name, command in COMMANDS.items()
        for key, of in inspect.signature(command.callback).parameters.items()
    }
    annotated = {name: get_args(of) for name, of in params.items() if get_origin(of) is Annotated}
    numbers = {name: how for name, (of, how) in annotated.items() if {int, float} & {of, *get_args(of)}}
    assert {"predict top", "train workers", "effective-robustness min_id"} <= numbers.keys()
    assert [name for name, how in numbers.items() if how.min is None or how.max is None] == []


def test_recipes_lists_the_installed_ones(genrobust: Run) -> None:
    rows = [line.split("│") for line in genrobust("list").stdout.splitlines() if "│" in line]
    named = [row for row in rows if row[1].strip()]  # others go on with a cell of the row above
    assert [row[1].strip() for row in named] == recipe_names()
    needs = {row[1].strip(): row[3].strip() for row in named}
    assert needs["pictograms"] == "nothing" and needs["imagenet100"].startswith("ImageNet")


def test_plan_prints_keys_seeds_and_prompts(genrobust: Run, recipe: Path) -> None:
    done = genrobust("show", recipe, "--prompts", 3)
    assert done.exit_code == 0
    assert "3 of 200 requests" in done.stdout
    assert "airplane-000000" in done.stdout
    again = genrobust("show", recipe, "--prompts", 3, "--set", "generate.per_class=7").stdout
    assert again == done.stdout.replace("3 of 200", "3 of 700")


def test_plan_tells_real_images_and_filters(genrobust: Run, recipe: Path) -> None:
    assert "real image" not in genrobust("show", recipe, "--prompts", 20).stdout
    with recipe.open("a") as file:
        file.write("datasets:\n  sure: {generator: {mode: images}, filter: {drop: 0.5}}\n")
    made = Study(load_recipe(str(recipe)), Path("runs")).dataset("sure")
    told = genrobust("show", recipe, "--prompts", 1, "--dataset", "sure").stdout
    assert made.plan[0].source in told
    assert "the lowest 50 % of each class" in " ".join(told.split())
    recipe.write_text(recipe.read_text().replace("mixture: generated", "mixture: sure"))
    assert made.plan[0].source in genrobust("show", recipe, "--prompts", 1).stdout  # of what an arm mixes


def test_show_tells_what_would_run(genrobust: Run, recipe: Path, tmp_path: Path) -> None:
    done = genrobust("show", recipe, "--set", "train.steps=77", "--set", "datasets.[more]={}")
    assert done.exit_code == 0
    assert done.stdout.count("0 of 77 steps") == 2
    assert "[odd], seed 0" in done.stdout
    assert "GB free for runs" in done.stdout
    assert "threads" not in done.stdout
    assert "genrobust run " in done.stdout.splitlines()[-1] and "--set train.steps=77" in done.stdout
    assert {path.name for path in tmp_path.glob("runs/*")} <= {"rates.json", ".lock"}


def test_show_prints_a_recipe_that_reads_again(genrobust: Run, recipe: Path, tmp_path: Path) -> None:
    done = genrobust("show", recipe, "--set", "train.steps=77", "--set", "arms.1.mixture=real", "--yaml")
    assert done.exit_code == 0
    (tmp_path / "again.yaml").write_text(done.stdout)
    asked = load_recipe(str(recipe), ["train.steps=77", "arms.1.mixture=real"])
    assert load_recipe("again.yaml") == Executor().placed(asked), "with what auto stands for"


# the last is none of Windows; make test sends the others while modules are imported, below
SIGNALS = ["SIGINT", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("SIGTERM", "SIGHUP"))]


@pytest.mark.skipif(os.name == "nt", reason="no signal to a process there")
@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_says_that_nothing_is_lost(name: str, recipe: Path, tmp_path: Path) -> None:
    number = getattr(signal, name)
    words = ["train", "small.yaml", "--arm", "real", "--set", "train.steps=100000", "--set", "train.save_every=1"]
    own = {"cwd": tmp_path, "stderr": subprocess.PIPE, "text": True, "preexec_fn": listens_to_ctrl_c}
    process = subprocess.Popen([sys.executable, "-m", "genrobust", *words], **own)
    deadline = time.monotonic() + 300  # it may wait for a busy machine, and must not wait for ever
    while not list(tmp_path.glob("runs/checkpoints/*/state-*.safetensors")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    try:
        _, stderr = process.communicate(timeout=120)
    finally:
        process.kill()  # else it would train beside the next tests
    assert process.returncode == 128 + number
    assert stderr.count("interrupted: ") == 1
    assert "Traceback" not in stderr
    assert list(tmp_path.glob("runs/checkpoints/*/state-*.safetensors")), (
        "two, if it struck while one took the other's place"
    )


IMPORTING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_IGN if {ignored} else signal.SIG_DFL)
class Sender:
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Sender)
sys.argv = ["genrobust", "show", "small.yaml"]
from genrobust.__main__ import main
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="no signal to a process there")
@pytest.mark.parametrize(("name", "module"), [("SIGINT", "genrobust.cli"), ("SIGTERM", "yaml"), ("SIGHUP", "torch")])
def test_a_signal_during_imports_ends_them(name: str, module: str, recipe: Path, tmp_path: Path) -> None:
    number = getattr(signal, name)

    def start(ignored: bool) -> subprocess.CompletedProcess[str]:
        script = IMPORTING.format(number=int(number), module=module, ignored=ignored)
        return subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)

    done = start(ignored=False)
    assert done.returncode == 128 + number
    assert done.stderr.count("interrupted: ") == 1
    assert "Traceback" not in done.stderr
    if name == "SIGHUP":
        assert start(ignored=True).returncode == 0, "as below nohup"


def test_own_folders_to_a_report(genrobust: Run, write_folder: Callable[..., Path], tmp_path: Path) -> None:
    classes = {name: name for name in ("airplane", "bell", "camera")}
    write_folder("train", "train", 8, classes)
    write_folder("test", "test", 4, classes)
    write_folder("solid", "solid", 4, {"Airplane": "airplane", "bell": "bell"})
    write_folder("made", "emoji", 4, classes)
    folders = ["--train", "train", "--test", "test", "--shift", "solid=solid", "--generated", "made"]
    started = genrobust("init", *folders)
    assert started.exit_code == 0

    # two baselines make no line, which must not cost the report
    settings = ("train.steps=4", "train.architecture=test_resnet", "train.precision=float32", "threads=1")
    settings += ("robustness.bootstrap=100", "robustness.grid=2")
    tiny = ["--quick", *(word for setting in settings for word in ("--set", setting))]
    done = genrobust("run", "study.yaml", *tiny)
    assert done.exit_code == 0, done.stderr
    assert "0 of 4 steps" in done.stderr
    (folder,) = (tmp_path / "runs").glob("study-quick+*train.steps=4*")
    assert folder.is_symlink()
    assert {p.name for p in folder.iterdir()} >= {"report.html", "report.md", "results.csv", "results.json"}
    assert str(Path("runs", folder.name, "report.html")) in done.stdout
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
    again = genrobust("run", "study.yaml", *tiny)
    assert again.exit_code == 0
    assert "missing" not in again.stderr
    assert (folder / "report.html").stat().st_size > 10_000
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/checkpoints/*/*")} == checkpoints
