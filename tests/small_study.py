"""What tests of commands share: a small recipe, and processes that run commands (see kill_and_resume.py)."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from kill_and_resume import Call, Starter, contents
from typer.testing import CliRunner, Result

from genrobust.cli import app
from genrobust.recipe import Recipe, parse_recipe

REAL = {"name": "real", "mixture": "real"}
CLASSES = {"airplane": "airplane", "bell": "bell", "anchor": "anchor"}
SETTINGS: dict[str, Any] = {
    "name": "small",
    "threads": 1,
    "device": "cpu",
    "generator": {"steps": 1},
    "generate": {"per_class": 30, "shard_size": 6, "batch_size": 6},
    "datasets": {"tuned": {"finetuned": True, "generate": {"per_class": 2}}},
    "finetune": {"steps": 12, "batch_size": 2, "warmup_steps": 1, "save_every": 1, "precision": "float32"},
    "train": {
        "architecture": "test_resnet",
        "image_size": 32,
        "batch_size": 8,
        "warmup_steps": 2,
        "steps": 40,
        "validate_every": 10,
        "save_every": 1,
        "precision": "float32",
    },
    "arms": [REAL],
    "evaluate": {"batch_size": 4},
    "robustness": {"baselines": None},
}
QUICK = {"name": "small", "threads": 1, "device": "cpu"}
TRAIN = {"architecture": "test_resnet", "image_size": 32, "steps": 2, "batch_size": 4, "warmup_steps": 0}
TRAIN["precision"] = "float32"
SHORT = (  # options that make the recipe of Pictograms small
    "device=cpu generator.steps=1 generator.dtype=float32 train.architecture=test_resnet train.model_kwargs={} "
    "train.image_size=32 train.batch_size=16 train.warmup_steps=2 train.precision=float32 robustness.bootstrap=100 "
)

OWN = """
name: own
threads: 1
device: cpu
generator: {model: pictograms, steps: 2}
generate: {per_class: 3}
datasets: {better: {generator: {steps: 3}}}
data: {source: folders, train: train, val: val, test: test, shifts: {solid: {path: solid}}}
train: {architecture: test_resnet, image_size: 32, steps: 2, batch_size: 4, warmup_steps: 0}
arms: [{name: real, mixture: real}, {name: real again, mixture: real, train: {steps: 3}}]
quick: {train.steps: 1}
"""


def recipe_of(**keys: Any) -> Recipe:
    return parse_recipe({"name": "small", "arms": [REAL], **keys})


def genrobust(*words: object, code: int = 0, said: str = "") -> Result:
    """Run a command here; its exit code is `code`, and what it says on standard error has the words `said`."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    assert said in " ".join(done.stderr.split()), done.stderr
    return done


def parsed(line: str) -> list[str]:
    """The words of a command, without `genrobust`, which its own parser takes; it raises for what it would refuse."""
    _, name, *words = shlex.split(line, comments=True)
    typer.main.get_command(app).commands[name].make_context(name, list(words))  # type: ignore[attr-defined]
    return [name, *words]


def proposed(text: str) -> list[list[str]]:
    """The words of the commands in `text`, each at the end of a line, as `parsed` returns them."""
    return [parsed(line) for line in re.findall(r"\bgenrobust [a-z][a-z-]* .*$", text, flags=re.M)]


def files(folder: Path) -> dict[Path, int]:
    """The files in `folder` and below with the times of their last change, but for locks."""
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def delete_named(verified: Any) -> None:
    """Delete what the lines of `verify` say."""
    for text in verified.damaged.values():
        named = re.search("delete (.+), and a rerun", text)
        place = Path(named[1])  # type: ignore[index]
        if place.suffix == ".*":
            for path in place.parent.glob(place.name):
                path.unlink()
        else:
            shutil.rmtree(place, ignore_errors=True)


def listens_to_ctrl_c() -> None:
    """In the child: a test run started by nohup, or in the background, ignores SIGHUP or SIGINT and hands that on."""
    for name in {"SIGINT", "SIGHUP"} & {*dir(signal)}:  # Windows has no SIGHUP
        signal.signal(getattr(signal, name), signal.SIG_DFL)


def folders_section(folders: dict[str, Path], **more: Any) -> dict[str, Any]:
    """The section data of a recipe on folders called train and test, and others that are shifts."""
    sets = {name: str(path) for name, path in folders.items()}
    section = {"source": "folders", "train": sets.pop("train"), "test": sets.pop("test")}
    return {**section, "shifts": sets, **more}


@pytest.fixture
def own_run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in a copy of `finished`."""
    shutil.copytree(finished, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def own(own_run: None) -> None:
    """Commands run in a copy of `finished` where nothing was run yet."""
    shutil.rmtree("runs")


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Runs commands at the same time, each in a process of its own."""
    with Starter(tmp_path_factory.mktemp("starter") / "log") as starter:
        yield starter


def write_generator(folder: str) -> None:
    from tiny import KINDS, saved

    saved(KINDS["sd"](), Path(folder))


@pytest.fixture(scope="session")
def generator(start: Starter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny generator."""
    folder = tmp_path_factory.mktemp("generator")
    start.to_end(Call("small_study.py", "write_generator", {"folder": str(folder)}))
    return folder


@pytest.fixture
def recipe(write_folder: Callable[..., Path], generator: Path, tmp_path: Path) -> Path:
    """A recipe of three classes with a tiny generator, where every stage takes a second or so."""
    settings = json.loads(json.dumps(SETTINGS))
    settings["generator"]["model"] = str(generator)
    sets = ("train", "test", "solid", "emoji", "pixel")
    settings["data"] = folders_section({name: write_folder(name, name, 6, CLASSES) for name in sets})
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="session")
def known() -> dict[int, dict[str, bytes]]:
    return {}


@pytest.fixture
def generated(
    start: Starter, recipe: Path, known: dict[int, dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """What `genrobust generate` makes of the recipe in a plain folder, undisturbed; it is run once for each size."""
    per_class = yaml.safe_load(recipe.read_text())["generate"]["per_class"]
    if per_class not in known:
        out = tmp_path_factory.mktemp("alone")
        start.to_end(["generate", str(recipe), "--out", str(out)])
        known[per_class] = contents(out)
    return known[per_class]
