"""What tests of commands share: a small recipe, and processes that run commands (see kill_and_resume.py)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kill_and_resume import Call, Starter, contents

CLASSES = {"airplane": "airplane", "bell": "bell", "anchor": "anchor"}
SETTINGS: dict[str, Any] = {
    "name": "small",
    "threads": 1,
    "device": "cpu",
    "generator": {"steps": 1},
    "generate": {"per_class": 30, "shard_size": 6, "batch_size": 6},
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
    "arms": [{"name": "real", "mixture": "real"}],
    "evaluate": {"batch_size": 4},
    "robustness": {"baselines": None},
}


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
    done = start(Call("small_study.py", "write_generator", {"folder": str(folder)}))
    assert done.codes == [0], done.said
    return folder


@pytest.fixture
def recipe(write_folder: Callable[..., Path], generator: Path, tmp_path: Path) -> Path:
    """A recipe of three classes with a tiny generator, where every stage takes a second or so."""
    settings = json.loads(json.dumps(SETTINGS))
    settings["generator"]["model"] = str(generator)
    sets = {name: write_folder(name, name, 6, CLASSES) for name in ("train", "test", "solid", "emoji", "pixel")}
    settings["data"] = {"source": "folders", "train": str(sets.pop("train")), "test": str(sets.pop("test"))}
    settings["data"]["val"] = settings["data"]["test"]
    settings["data"]["shifts"] = {name: str(path) for name, path in sets.items()}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="session")
def known() -> dict[str, bytes]:
    return {}


@pytest.fixture
def generated(
    start: Starter, recipe: Path, known: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """What `genrobust generate` makes of the recipe in a plain folder, undisturbed; it is run once."""
    if not known:
        out = tmp_path_factory.mktemp("alone")
        done = start(["generate", str(recipe), "--out", str(out)])
        assert done.codes == [0], done.said
        known.update(contents(out))
    return known
