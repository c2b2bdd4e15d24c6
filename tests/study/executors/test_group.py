"""A classifier trained by two processes of this machine: what one would learn, also when one of them dies."""

import logging
from functools import partial

import pytest
from scribe import Meeting, Scribe, meetings, work
from small import assert_same_up_to_rounding, children, count_of, gone, kill_while_training, of_two, recipe_of, written
from small_study import contents, genrobust

from genrobust.core import UserError
from genrobust.study import Processes, Study
from genrobust.study.executors import processes
from genrobust.study.executors.jobs import Work


@pytest.mark.thorough
def test_a_killed_process_costs_no_bit_of_what_two_learn_as_one(write_folder, tmp_path, caplog):
    recipe, out = of_two(write_folder), tmp_path / "whole"
    said = genrobust("train", written(recipe, tmp_path), "--out", out, "--workers", 2)
    assert "Warning" not in said.stderr

    study = Study(recipe, tmp_path / "killed", executor=Processes(recipe, 2))
    both, alone = study.runs()
    with caplog.at_level(logging.WARNING):
        kill_while_training(study, both, lambda: children()[1])
    together, alone = study.train([both, alone])
    assert [text.partition(":")[0] for text in caplog.messages] == ["real, seed 0"]
    assert caplog.messages[0].endswith("it is tried again")
    assert contents(tmp_path / "killed") == contents(out)
    assert_same_up_to_rounding(together, alone)


@pytest.fixture
def executor():
    return Processes(recipe_of(device="cpu"), 3)


def members(folder, key, size=2):
    """The processes of a group, by their rank."""
    return [int((folder / f"try-{key}-{rank}-of-{size}").read_text()) for rank in range(size)]


@pytest.mark.thorough
def test_jobs_of_one_worker_come_before_those_of_several(executor, tmp_path):
    (single,), (both,) = work(tmp_path, "write:x").jobs, meetings(tmp_path, "a").jobs
    executor.run(Work("both", [both, single], partial(either, tmp_path)))
    assert (tmp_path / "done-x").stat().st_mtime_ns < (tmp_path / "try-a-0-of-2").stat().st_mtime_ns


def either(folder):
    """Does jobs of either kind."""
    return lambda keys: (Scribe(folder).write if ":" in keys[0] else Meeting(folder).meet)(keys)


@pytest.mark.thorough
def test_a_group_whose_process_dies_is_started_again(executor, tmp_path):
    executor.run(meetings(tmp_path, "die-once", "a"))
    assert (tmp_path / "died").exists() and len(set(members(tmp_path, "a"))) == 2


@pytest.mark.thorough
def test_a_mistake_of_the_users_ends_the_group(executor, tmp_path):
    with pytest.raises(UserError, match="this is wrong"):
        executor.run(meetings(tmp_path, "mistake", "a"))
    assert gone(members(tmp_path, "mistake"))
    assert not (tmp_path / "try-a-0-of-2").exists()


@pytest.fixture
def pair(monkeypatch):
    """Four workers on two GPUs, with nothing to compute on."""
    monkeypatch.setattr(processes, "_gpus", lambda device: ["0", "GPU-7f"])
    monkeypatch.setattr(processes, "backend_for", lambda on_gpus: "gloo")
    return Processes(recipe_of(device="cpu"), 4)


@pytest.mark.thorough
def test_each_of_a_group_has_a_gpu_of_its_own(pair, tmp_path):
    pair.run(meetings(tmp_path, "a"))
    assert [(tmp_path / f"gpu-a-{rank}").read_text() for rank in range(2)] == ["0", "GPU-7f"]
    with pytest.raises(
        UserError, match=r"3 workers .* for 2 here \(a GPU for each\): lower train.workers, or use a Ray"
    ):
        pair.require(3)


def test_what_cannot_be_trained_so_is_reported_before_anything_is_made(write_folder, tmp_path):
    words = ("train", written(of_two(write_folder), tmp_path), "--out", tmp_path / "out")
    genrobust(
        *words, "--executor", "local", "--workers", 1, code=2, said="there is room for 1 here (threads: 1 for each)"
    )
    assert count_of(tmp_path, "out/checkpoints/*") == 0
    run = ("run", "pictograms", "--quick", "--set", "train.workers=2", "--workers", 1, "--out", tmp_path / "run")
    genrobust(*run, code=2, said="--workers 2")
    assert count_of(tmp_path, "run/generated/*/*.tar") == 0, "no image was generated first"


def test_one_gpu_is_for_one_worker(monkeypatch):
    monkeypatch.setattr(processes, "_gpus", lambda device: None)
    with pytest.raises(UserError, match="set device to cuda or cpu"):
        Processes(recipe_of(device="cpu"), 2).require(2)
