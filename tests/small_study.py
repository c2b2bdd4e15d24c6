"""What tests of commands share: a small recipe, and processes that are started quickly (see starter.py).

start([words of genrobust], ...)       runs them at the same time; words NAME=VALUE in front set their environment
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent
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
UNLIKE = {".lock", "rates.json"}  # the one is empty, the other tells times


@dataclass(frozen=True)
class Done:
    """How commands ended: their exit codes, -9 for a killed one, and what they said."""

    codes: list[int]
    seconds: float
    said: str


@pytest.fixture(scope="session")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the starter writes a tiny generator."""
    return tmp_path_factory.mktemp("generator")


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory, generator: Path) -> Iterator[Callable[..., Done]]:
    """Runs commands at the same time, each in a process of its own; see starter.py."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(HERE / "starter.py"), str(generator)]
    starter = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert starter.stdin and starter.stdout
    log = tmp_path_factory.mktemp("starter") / "log"
    killer = log.with_name("killer")

    def run(
        *commands: list[str],
        kill_after: float | None = None,
        kill_when: Callable[[], bool] | None = None,
        limit: int | None = None,
    ) -> Done:
        log.write_bytes(b"")
        asked = {"commands": commands, "kill_after": kill_after, "limit": limit, "log": str(log), "killer": str(killer)}
        print(json.dumps(asked), file=starter.stdin, flush=True)
        while kill_when is not None and not select([starter.stdout], [], [], 0.03)[0]:
            if kill_when():
                killer.touch()
                kill_when = None
        codes, seconds = json.loads(starter.stdout.readline())
        killer.unlink(missing_ok=True)  # where the last of them ended before it
        return Done(codes, seconds, log.read_text())

    yield run
    starter.stdin.close()
    starter.wait()
    starter.stdout.close()


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
    start: Callable[..., Done], recipe: Path, known: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """What `genrobust generate` makes of the recipe in a plain folder, undisturbed; it is run once."""
    if not known:
        out = tmp_path_factory.mktemp("alone")
        done = start(["generate", str(recipe), "--out", str(out)])
        assert done.codes == [0], done.said
        known.update(contents(out))
    return known


def contents(out: Path) -> dict[str, bytes]:
    """Every file below `out` but those in UNLIKE, temporary ones too."""
    files = (p for p in out.rglob("*") if p.is_file() and p.name not in UNLIKE)
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in files}
