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
from typer.testing import CliRunner, Result

from genrobust.cli import app
from genrobust.core.files import lock
from genrobust.core.images import Sample

Export, Run = Callable[..., Path], Callable[..., Result]
MISTAKES = {
    "--to tfrecord": "'tfrecord'",
    "--to parquet --val 0": "--val",
    "--val 0.5": "--to FORMAT",
    "--to parquet --private": "--push",
    "--to timm --val 0.5": "--val",
    "--to parquet --license My-own!": "--license",
    "--to parquet --filter best": "--filter best",
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
        "fewer": write_dataset(folder / "fewer", [s for s in samples if s.label != 3]),
    }


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_named_and_writes_nothing(run: Run, tmp_path: Path, places: dict[str, Path], words: str) -> None:
    refused(run(*(word.format(**places) for word in words.split())), MISTAKES[words])
    assert not [p for p in tmp_path.iterdir() if p.name != ".lock"]


def test_a_dataset_without_a_class_or_a_shard_is_refused(run: Run, places: dict[str, Path], tmp_path: Path) -> None:
    refused(run("--to", "parquet", source=places["fewer"]), "has no image of the class 'ice-cream'")
    part = Path(shutil.copytree(places["dataset"], tmp_path / "partial"))
    (part / "000001.json").unlink()
    refused(run("--to", "parquet", source=part), "1 of 2 shards are missing")


@pytest.mark.parametrize("name", ["README.md", ".hidden", "data/own.parquet"])
def test_a_folder_of_others_is_never_replaced(run: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    for more in ([], ["--overwrite"]):
        refused(run("--to", "parquet", *more), "--out")
    assert contents(tmp_path / "out") == {name: b"mine"}


def edit(path: Path, old: bytes = b"\n", new: bytes = b" \n") -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {  # what a user does to an export, and what is named
    "a file": (lambda out: (out / "notes.txt").write_text("mine"), "notes.txt"),
    "a file among ours": (lambda out: (out / "data" / "own.parquet").write_text("mine"), "data/own.parquet"),
    "an empty folder": (lambda out: (out / "figures").mkdir(), "figures"),
    "an edited card": (lambda out: edit(out / "README.md"), "README.md"),
    "an edited list": (lambda out: edit(out / "manifest.json", b"sha256", b"SHA256"), "manifest.json"),
    "a link to a folder": (lambda out: (out / "leak").symlink_to("/etc"), "leak"),
    "a link to copies": (lambda out: moved(out / "data"), "data"),
}


def moved(path: Path) -> None:
    path.symlink_to(path.rename(path.parent.parent / "elsewhere"))


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_user_does_to_an_export_is_neither_lost_nor_pushed(
    run: Run, export: Export, tmp_path: Path, change: str
) -> None:
    """`--overwrite` and `--push` refuse, and name it."""
    out = export("--to", "parquet")
    do, named = CHANGES[change]
    do(out)
    before = {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*")}
    pushed = CliRunner().invoke(app, ["export", str(out), "--push", "me/icons"], env={"HF_TOKEN": "hf_x"})
    for done in (run("--to", "webdataset", "--overwrite"), pushed):
        refused(done, named, code=1 if named == "manifest.json" else 2)  # its own hash says that it is damaged
        assert "unexpected" not in done.stderr
    assert {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*") if p.name != ".lock"} | before == before


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
from genrobust.tools.export.folder import new_folder
with new_folder(Path(sys.argv[1]), True, "dataset") as folder:
    (folder / "README.md").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_nothing_that_looks_complete(run: Run, export: Export, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for first in (True, False):
        there = {} if first else contents(export("--to", "parquet", "--overwrite"))
        killed = subprocess.run([sys.executable, "-c", KILLED, str(out)])
        assert killed.returncode == -signal.SIGKILL
        assert (contents(out) if out.exists() else {}) == there
    before = contents(export("--to", "parquet", "--overwrite"))
    out.rename(tmp_path / ".out.genrobust-old")  # where a kill between the two renames leaves it
    refused(run("--to", "parquet"), "--overwrite")
    assert contents(out) == before


def test_two_exports_at_once_do_not_meet(run: Run, tmp_path: Path) -> None:
    with lock(tmp_path):
        refused(run("--to", "parquet"), "another process is writing to")
    assert not (tmp_path / "out").exists()
