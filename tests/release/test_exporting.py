"""What an export refuses, and what it leaves behind when it fails or is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made import IDS, contents, refused, write_dataset
from typer.testing import Result

from genrobust.core.files import lock
from genrobust.core.images import Sample

Export, Run = Callable[..., Path], Callable[..., Result]
MISTAKES = {
    "--to tfrecord": "'tfrecord'",
    "--to parquet --val 0": "--val",
    "--to parquet --val 0.05": "validation part",
    "--to parquet --val 0.99": "train part",
    "--to parquet --val 0.5 --val-dataset x": "--val-dataset",
    "--to parquet --val-dataset nowhere": "nowhere",
    "--to parquet --val-dataset {dataset}": "names the dataset itself",
    "--to parquet --val-dataset {reversed}": "which are not the 5 of",
    "--to parquet --val-dataset {fewer}": "the validation part has no image of 1 class (ice-cream)",
    "--to parquet --license My-own!": "--license",
    "--to parquet --filter best": "--filter best",
    "--to parquet --generator nowhere": "--generator nowhere",
    "--to parquet --audit nowhere": "--audit nowhere",
    "--to parquet --out {dataset}/inside": "lies in the dataset",
    "--to parquet --out {dataset}": "lies in the dataset",
    "--to parquet --out {dataset}/..": "lies in the dataset",
}


@pytest.fixture
def places(dataset: Path, tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("places")
    return {
        "dataset": dataset,
        "reversed": write_dataset(folder / "reversed", samples, class_ids=list(reversed(IDS))),
        "fewer": write_dataset(folder / "fewer", [s for s in samples if s.label != 3]),
    }


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_named_and_writes_nothing(run: Run, tmp_path: Path, places: dict[str, Path], words: str) -> None:
    refused(run(*(word.format(**places) for word in words.split())), MISTAKES[words])
    assert not [p for p in tmp_path.iterdir() if p.name != ".lock"]


def test_a_dataset_without_a_class_or_a_shard_is_refused(run: Run, places: dict[str, Path], tmp_path: Path) -> None:
    refused(run("--to", "parquet", source=places["fewer"]), "has no image of 1 class (ice-cream)")
    part = Path(shutil.copytree(places["dataset"], tmp_path / "partial"))
    (part / "000001.parquet").unlink()
    refused(run("--to", "parquet", source=part), "1 of 2 shards are missing")


def test_files_of_others_are_never_replaced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    for more in ([], ["--overwrite"]):
        refused(run("--to", "parquet", *more), "--out")
    assert contents(tmp_path / "out") == {"thesis.tex": b"mine"}


def test_only_a_complete_export_replaces_another(run: Run, export: Export, tmp_path: Path, dataset: Path) -> None:
    before = contents(export("--to", "parquet"))
    refused(run("--to", "webdataset"), "--overwrite")
    damaged = Path(shutil.copytree(dataset, tmp_path / "damaged"))
    with (damaged / "000001.tar").open("r+b") as file:
        file.seek(20_000)
        file.write(b"\xff" * 2000)
    refused(run("--to", "webdataset", "--overwrite", source=damaged), "000001.tar", "has changed", code=1)
    assert contents(tmp_path / "out") == before
    after = contents(export("--to", "webdataset", "--overwrite"))
    assert "_info.json" in after
    assert not [name for name in after if name.endswith(".parquet")]


KILLED = """
import os, signal, sys
from pathlib import Path
from genrobust.release.folder import new_folder
with new_folder(Path(sys.argv[1]), True) as folder:
    (folder / "croissant.json").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_nothing_that_looks_complete(run: Run, export: Export, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for first in (True, False):
        there = {} if first else contents(export("--to", "parquet", "--overwrite"))
        killed = subprocess.run([sys.executable, "-c", KILLED, str(out)], env={**os.environ})
        assert killed.returncode == -signal.SIGKILL
        assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == [".out.part"]
        assert (contents(out) if out.exists() else {}) == there
    before = contents(export("--to", "parquet", "--overwrite"))
    out.rename(tmp_path / ".out.old")  # where a kill between the two renames leaves it
    refused(run("--to", "parquet"), "--overwrite")
    assert contents(out) == before


def test_two_exports_at_once_do_not_meet(run: Run, tmp_path: Path) -> None:
    with lock(tmp_path):
        refused(run("--to", "parquet"), "another process is writing to")
    assert not (tmp_path / "out").exists()
