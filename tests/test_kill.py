"""Runs that are killed, doubled or out of room: what they leave is whole, and a rerun ends as an undisturbed one.

    pytest tests/test_kill.py              a few kills of one stage, two processes at once, a full disk
    pytest tests/test_kill.py -m slow      20 kills of each stage, about a minute each on a quiet machine

Each command is genrobust's own command line in a process of its own (see starter.py), killed by SIGKILL at a moment
drawn from the whole length of an undisturbed run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from genrobust.cli import app
from genrobust.verifying import verify

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


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the starter writes a tiny generator."""
    return tmp_path_factory.mktemp("generator")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, generator: Path) -> Iterator[Callable[..., Done]]:
    """Runs commands at the same time, each in a process of its own; see starter.py."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(HERE / "starter.py"), str(generator)]
    starter = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert starter.stdin and starter.stdout
    log = tmp_path_factory.mktemp("starter") / "log"

    def run(*commands: list[str], kill_after: float | None = None, limit: int | None = None) -> Done:
        log.write_bytes(b"")
        asked = {"commands": commands, "kill_after": kill_after, "limit": limit, "log": str(log)}
        print(json.dumps(asked), file=starter.stdin, flush=True)
        codes, seconds = json.loads(starter.stdout.readline())
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


def contents(out: Path) -> dict[str, bytes]:
    """Every file below `out` but those in UNLIKE, temporary ones too."""
    files = (p for p in out.rglob("*") if p.is_file() and p.name not in UNLIKE)
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in files}


def kill_at_random(start: Callable[..., Done], words: list[str], out: Path, kills: int) -> None:
    """Kill the command `words`, which writes below `out`, so many times; whenever it ends, compare, and begin anew."""
    before = out.with_name("before")
    shutil.copytree(out, before) if out.exists() else before.mkdir()
    undisturbed = start(words)
    assert undisturbed.codes == [0], undisturbed.said
    wanted = contents(out)
    assert len(wanted) > len(contents(before))
    moments = random.Random(words[0])
    killed, finished = 0, 1
    while killed < kills or finished == 0:
        if finished:
            shutil.rmtree(out)
            shutil.copytree(before, out)
        after = moments.uniform(0, undisturbed.seconds) if killed < kills else None
        done = start(words, kill_after=after)
        assert done.codes in ([0], [-9]), done.said
        killed += done.codes == [-9]
        finished = done.codes == [0]
        if finished:
            assert contents(out) == wanted, f"after {killed} kills"


def test_generating_survives_kills(start: Callable[..., Done], recipe: Path, tmp_path: Path) -> None:
    kill_at_random(start, ["generate", str(recipe), "--out", str(tmp_path / "runs")], tmp_path / "runs", kills=3)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["generate", "train", "finetune", "evaluate"])
def test_every_stage_survives_kills(start: Callable[..., Done], recipe: Path, tmp_path: Path, stage: str) -> None:
    out = tmp_path / "runs"
    if stage == "evaluate":
        assert start(["train", str(recipe), "--out", str(out)]).codes == [0]
    kill_at_random(start, [stage, str(recipe), "--out", str(out)], out, kills=20)


def test_of_two_processes_the_second_is_told_and_no_shard_is_mixed(
    start: Callable[..., Done], recipe: Path, tmp_path: Path
) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert start(["generate", str(recipe), "--out", str(alone)]).codes == [0]
    words = ["generate", str(recipe), "--out", str(shared)]
    done = start(words, words)
    assert 0 in done.codes
    if done.codes != [0, 0]:  # else the second came when the first was done
        assert sorted(done.codes) == [0, 2]
        assert "another process is writing to" in done.said
    assert contents(shared) == contents(alone)
    assert start(words, words, words).codes == [0, 0, 0], "what is done may be opened by many at once"


def test_parts_that_are_made_at_the_same_time_are_the_whole(
    start: Callable[..., Done], recipe: Path, tmp_path: Path
) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert start(["generate", str(recipe), "--out", str(alone)]).codes == [0]
    words = ["generate", str(recipe), "--out", str(shared), "--shards"]
    done = start(*([*words, f"{part}/4"] for part in (4, 1, 3)))
    assert done.codes == [0, 0, 0], done.said
    (folder,) = (shared / "generated").iterdir()
    assert sorted(int(p.stem) for p in folder.glob("*.parquet")) == [i for i in range(15) if i % 4 != 1]
    assert start([*words, "2/4"]).codes == [0]
    assert contents(shared) == contents(alone)


def test_cells_that_are_trained_apart_are_those_of_one_run(
    start: Callable[..., Done], recipe: Path, tmp_path: Path
) -> None:
    more = ["--set", "seeds=[0, 1, 2]", "--set", "train.steps=5", "--out"]
    assert start(["train", str(recipe), *more, str(tmp_path / "alone")]).codes == [0]
    words = ["train", str(recipe), *more, str(tmp_path / "apart"), "--cells"]
    done = start([*words, "1/2"], [*words, "2/2"])
    assert done.codes == [0, 0], done.said
    assert [done.said.count(f"real, seed {seed}: ") for seed in range(3)] == [2, 2, 2]  # what begins, and where it is
    assert contents(tmp_path / "apart") == contents(tmp_path / "alone")


def test_a_flipped_bit_is_found_and_its_shard_alone_made_again(
    start: Callable[..., Done], recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    words = ["generate", str(recipe), "--out", str(out)]
    assert start(words).codes == [0]
    whole = contents(out)
    (folder,) = (out / "generated").iterdir()
    chance = random.Random(7)
    shard, kind = chance.randrange(15), chance.choice(["tar", "parquet"])
    damaged = folder / f"{shard:06d}.{kind}"
    data = bytearray(damaged.read_bytes())
    bit = chance.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    damaged.write_bytes(data)
    others = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.glob("0*") if p.stem != damaged.stem}
    assert len(others) == 3 * 14

    assert [d.shard for d in verify(folder).damaged] == [shard]
    assert CliRunner().invoke(app, ["verify", str(folder), "--repair"]).exit_code == 0
    assert start(words).codes == [0]
    shutil.rmtree(folder / ".damaged")
    assert contents(out) == whole
    assert {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in others} == others


def test_a_full_disk_is_told_with_what_is_needed_and_the_run_goes_on_with_room(
    start: Callable[..., Done], recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    words = ["generate", str(recipe), "--out", str(out)]
    assert start(words).codes == [0]
    whole = contents(out)
    (folder,) = (out / "generated").iterdir()
    for shard in range(5, 15):
        (folder / f"{shard:06d}.parquet").unlink()
        (folder / f"{shard:06d}.tar").unlink()
    before = contents(out)
    done = start(words, limit=(folder / "000000.tar").stat().st_size - 1)  # no further shard fits
    assert done.codes == [1]
    assert "File too large: free some space and run the same command again; what is there is whole" in done.said
    assert "this study still needs about" in done.said
    assert contents(out) == before
    assert start(words).codes == [0]
    assert contents(out) == whole


def test_a_small_file_system_that_fills_up(start: Callable[..., Done], recipe: Path, tmp_path: Path) -> None:
    small, alone = tmp_path / "small", tmp_path / "alone"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here: it takes root")
    try:
        words = ["generate", str(recipe), "--out"]
        done = start([*words, str(small / "runs")])
        assert done.codes == [1]
        assert "No space left on device: free some space and run the same command again" in done.said
        assert "0 MB are free" in done.said
        (folder,) = (small / "runs" / "generated").iterdir()
        found = verify(folder)
        assert (found.damaged, found.temporary) == ((), ())
        assert 0 < len(found.unfinished) < 15
        subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)
        assert start([*words, str(small / "runs")]).codes == [0]
        assert start([*words, str(alone)]).codes == [0]
        assert contents(small / "runs") == contents(alone)
    finally:
        subprocess.run(["umount", str(small)], check=True)
