"""The jobs of a SLURM cluster, as submitit starts them on this machine: the same code, and no queue."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from scribe import meetings, work
from small import count_of, recipe_of, written
from small_study import CLASSES, REAL, TRAIN, contents, folders_section, genrobust

from genrobust.core import GenrobustError, UserError
from genrobust.study import open_executor
from genrobust.study.executors.workers import TRIES


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The executor, whose jobs find the module of what they do."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]))
    recipe = recipe_of(threads=1, device="cpu")
    return open_executor(recipe, tmp_path / "runs", "slurm", cluster="local", at_once=2)


def test_each_job_is_done_once_and_counted(slurm, tmp_path: Path) -> None:
    slurm.run(work(tmp_path, "write:a", "write:b", "write:c"))
    assert count_of(tmp_path, "done-*") == count_of(tmp_path, "try-*") == 3
    told = json.loads((tmp_path / "done-a").read_text())
    assert (told["folder"], told["threads"]) == (str(Path.cwd()), "1")
    assert [path.name for path in (tmp_path / "runs" / "slurm").iterdir()] == ["logs"], "none of the progress is left"


@pytest.mark.thorough
def test_what_dies_is_tried_again_and_the_rest_is_done(slurm, tmp_path: Path) -> None:
    slurm.run(work(tmp_path, "die-once:a", "write:b"))
    assert (tmp_path / "done-a").exists() and (tmp_path / "done-b").exists()
    with pytest.raises(GenrobustError, match=rf"die.*tries: {TRIES}"):
        slurm.run(work(tmp_path, "die:c", "write:d"))
    assert (tmp_path / "done-d").exists()


def test_a_mistake_of_the_users_ends_the_work(slurm, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        slurm.run(work(tmp_path, "mistake:a"))


def test_without_a_cluster_and_with_keys_of_another_executor_it_is_refused(tmp_path: Path) -> None:
    assert shutil.which("srun") is None
    with pytest.raises(UserError, match="srun"):
        open_executor(recipe_of(), tmp_path, "slurm")
    with pytest.raises(UserError, match="address"):
        open_executor(recipe_of(), tmp_path, "slurm", address="here:1")


@pytest.mark.thorough
def test_a_study_is_that_of_one_process(write_folder: Callable[..., Path], tmp_path: Path) -> None:
    sets = {name: write_folder(name, name, 4, CLASSES) for name in ("train", "test", "solid")}
    values = {"data": folders_section(sets), "generator": None, "train": TRAIN, "threads": 1, "device": "cpu"}
    recipe = recipe_of(**values, arms=[REAL], seeds=[0, 1], execute={"executor": "slurm", "cluster": "local"})
    file = written(recipe, tmp_path)
    genrobust("evaluate", file, "--out", tmp_path / "slurm")
    genrobust("evaluate", file, "--executor", "local", "--out", tmp_path / "here")
    assert count_of(tmp_path / "slurm", "checkpoints/*") == 2

    def results(folder: Path) -> dict[str, object]:
        return {name: of for name, of in contents(folder).items() if not name.startswith("slurm/")}

    assert results(tmp_path / "slurm") == results(tmp_path / "here")


@pytest.mark.thorough
def test_several_processes_of_a_job_do_it_together(slurm, tmp_path: Path) -> None:
    slurm.run(meetings(tmp_path, "a"))
    assert [count_of(tmp_path, f"try-a-{rank}-of-2") for rank in range(2)] == [1, 1]
