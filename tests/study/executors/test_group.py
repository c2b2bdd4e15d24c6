"""A classifier trained by two processes of this machine: what one would learn, also when one of them dies."""

import logging
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small import children, count_of, gone, of_two, recipe_of, written
from small_study import contents, genrobust
from torch import distributed

from genrobust.classifiers import STATE
from genrobust.core import DiskFull, UserError
from genrobust.study import Processes, Study
from genrobust.study.executors import processes
from genrobust.study.executors.pool import BadLuck, failure_of, root_cause
from genrobust.study.jobs import Job, Work


def test_a_killed_process_costs_no_bit_of_what_two_learn_as_one(write_folder, tmp_path, caplog):
    recipe, out = of_two(write_folder), tmp_path / "whole"
    said = genrobust("train", written(recipe, tmp_path), "--out", out, "--workers", 2)
    assert "Warning" not in said.stderr

    executor = Processes(recipe, 2)
    study = Study(recipe, tmp_path / "killed", executor=executor)
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(1) as beside:
        both, alone = study.runs()
        running = beside.submit(study.train, [both])
        while not count_of(tmp_path / "killed", f"checkpoints/*/{STATE}"):
            assert not running.done()
            time.sleep(0.01)
        os.kill(children()[1], signal.SIGKILL)
        running.result()
    together, alone = study.train([both, alone])
    executor.close()
    assert [text.partition(":")[0] for text in caplog.messages] == ["real, seed 0"]
    assert caplog.messages[0].endswith("it is tried again")
    assert contents(tmp_path / "killed") == contents(out)

    two, one = (load_file(folder / "model.safetensors") for folder in (together, alone))
    assert two.keys() == one.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=2e-5, rtol=1e-4)


@dataclass(frozen=True)
class Meeting:
    """Jobs that several do: they add up their ranks, and what they know of a job they write into `folder`."""

    folder: Path

    def __call__(self):
        return self.meet

    def meet(self, keys):
        rank, size = distributed.get_rank(), distributed.get_world_size()
        for key in keys:
            told = f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}"
            (self.folder / f"{key}-{rank}-of-{size}").write_text(told)
            if key == "mistake" and rank == 1:
                raise UserError("this is wrong")
            if key == "die-once" and rank == 1 and not (self.folder / "died").exists():
                (self.folder / "died").touch()
                os._exit(1)
            ranks = torch.tensor(rank)
            distributed.all_reduce(ranks)
            assert int(ranks) == sum(range(size))


def meetings(folder, *keys, size=2):
    jobs = [Job(key, f"job {key}", 1, workers=size) for key in keys]
    return Work("meeting", jobs, Meeting(folder))


@pytest.fixture
def executor():
    made = Processes(recipe_of(device="cpu"), 3)
    yield made
    made.close()


def test_groups_of_any_size_follow_each_other_in_the_same_processes(executor, tmp_path):
    for size in (2, 3):
        executor.run(meetings(tmp_path, "a", "b", size=size))
    made = {path.name: path.read_text().split()[0] for path in tmp_path.iterdir()}
    assert made.keys() == {f"{key}-{rank}-of-{size}" for key in "ab" for size in (2, 3) for rank in range(size)}
    assert len(set(made.values())) == 3 and made["a-0-of-2"] == made["b-0-of-3"]


def test_a_group_whose_process_dies_is_started_again(executor, tmp_path):
    executor.run(meetings(tmp_path, "die-once", "a"))
    assert (tmp_path / "died").exists() and (tmp_path / "a-1-of-2").exists()


def test_a_mistake_of_the_users_ends_the_group(executor, tmp_path):
    with pytest.raises(UserError, match="this is wrong"):
        executor.run(meetings(tmp_path, "mistake", "a"))
    assert gone({int(path.read_text().split()[0]) for path in tmp_path.iterdir()})
    assert not (tmp_path / "a-0-of-2").exists()


def test_each_of_a_group_has_a_gpu_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_gpus", lambda device: ["0", "GPU-7f"])
    pair = Processes(recipe_of(device="cpu"), 4)  # two processes share each GPU
    pair.run(meetings(tmp_path, "a"))
    pair.close()
    assert {path.read_text().split()[1] for path in tmp_path.iterdir()} == {"0", "GPU-7f"}
    with pytest.raises(UserError, match=r"3 workers .* room for 2 here \(a GPU for each\)"):
        pair.require(3)


def test_what_cannot_be_trained_so_is_reported_before_anything_is_made(write_folder, tmp_path):
    words = ("train", written(of_two(write_folder), tmp_path), "--out", tmp_path / "out")
    genrobust(*words, "--workers", 1, code=2, said="there is room for 1 here (threads: 1 for each)")
    assert count_of(tmp_path, "out/checkpoints/*") == 0
    run = ("run", "pictograms", "--quick", "--set", "train.workers=2", "--workers", 1, "--out", tmp_path / "run")
    genrobust(*run, code=2, said="--workers 2")
    assert count_of(tmp_path, "run/generated/*/*.tar") == 0, "no image was generated first"


def test_one_gpu_by_its_number_is_for_one_worker(monkeypatch):
    monkeypatch.setattr(processes, "_gpus", lambda device: None)
    with pytest.raises(UserError, match="set device to cuda or cpu"):
        Processes(recipe_of(device="cpu"), 2).require(2)


def test_of_the_failures_of_a_group_the_cause_is_reported():
    """When one dies or fails, the connections of the others break."""
    broken, full, wrong = map(failure_of, (RuntimeError("reset"), DiskFull("no room"), UserError("no such image")))
    died = BadLuck("its worker died")
    assert root_cause([broken, full]) is full
    assert root_cause([broken, full, died]) is died
    assert root_cause([broken, died, wrong, full]) is wrong
    assert root_cause([broken]) is broken
