"""What an export refuses, and what it leaves behind when it fails or is killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made import contents, refused, write_dataset
from typer.testing import Result

from genrobust.core.images import Sample

Export, Run = Callable[..., Path], Callable[..., Result]
MISTAKES = {
    "": "--to",
    "--to tfrecord": "'tfrecord'",
    "--to parquet --private": "--push",
    "--to timm --filter best": "--filter",
    "--to parquet --filter best": "no filter at best",
    "--to parquet --audit nowhere": "--audit nowhere",
    "--to parquet --out {dataset}/inside": "lies in the dataset",
    "--to parquet --out {dataset}": "is there already",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_named_and_writes_nothing(run: Run, tmp_path: Path, dataset: Path, words: str) -> None:
    refused(run(*(word.format(dataset=dataset) for word in words.split())), MISTAKES[words])
    assert not list(tmp_path.iterdir())


def test_a_dataset_without_a_class_or_a_shard_is_refused(
    run: Run, dataset: Path, samples: list[Sample], tmp_path: Path
) -> None:
    fewer = write_dataset(tmp_path / "fewer", [s for s in samples if s.label != 3])
    refused(run("--to", "parquet", source=fewer), "no image of the class 'ice-cream'")
    part = Path(shutil.copytree(dataset, tmp_path / "partial"))
    (part / "000001.json").unlink()
    refused(run("--to", "parquet", source=part), "1 of 2 shards are missing")


def test_what_lies_in_a_folder_stays(run: Run, export: Export, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    before = contents(export("--to", "parquet"))  # into an empty folder
    assert before.keys() == {"README.md", "data/train-00000-of-00001.parquet"}
    refused(run("--to", "imagefolder"), "--out")
    assert contents(tmp_path / "out") == before


def test_a_damaged_dataset_leaves_nothing(run: Run, tmp_path: Path, dataset: Path) -> None:
    damaged = Path(shutil.copytree(dataset, tmp_path / "damaged"))
    with (damaged / "000001.tar").open("r+b") as file:
        file.seek(20_000)
        file.write(b"\xff" * 2000)
    refused(run("--to", "imagefolder", source=damaged), "000001.tar", "has changed", code=1)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


KILLED = """
import os, signal, sys
from pathlib import Path
from genrobust.tools.export.folder import new_folder
with new_folder(Path(sys.argv[1])) as folder:
    (folder / "README.md").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")])
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
