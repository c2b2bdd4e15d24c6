"""Worker processes on this machine: what dies is tried again, what fails ends the work, and nothing outlives it."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
from scribe import SIZE, work
from small import children, count_of, gone, recipe_of, watching
from small_study import SHORT, contents

from genrobust.core import GenrobustError, UserError, counting, machine
from genrobust.recipe import load_recipe
from genrobust.study import Processes, Study
from genrobust.study.executors import processes
from genrobust.study.executors.workers import loaded


def workers(count, **keys):
    """The executor of so many processes."""
    return Processes(recipe_of(device="cpu", **keys), count)


def writers(folder):
    """The processes that tried a job."""
    return {int(path.read_text()) for path in folder.glob("try-*")}


def test_several_processes_do_all_jobs_with_their_threads(tmp_path):
    executor = workers(2, threads=3)
    executor.run(work(tmp_path, *(f"write:{name}" for name in "abcdef")))
    told = [json.loads((tmp_path / f"done-{name}").read_text()) for name in "abcdef"]
    assert {t["threads"] for t in told} == {"3"}
    assert {t["folder"] for t in told} == {str(Path.cwd())}
    assert 1 <= count_of(tmp_path, "loaded-*") == len(writers(tmp_path)) <= 2
    assert os.getpid() not in writers(tmp_path)


@pytest.mark.parametrize("count", [1, 4])
def test_one_worker_or_one_job_is_done_here(tmp_path, count):
    workers(count).run(work(tmp_path, *(["write:a"] if count > 1 else ["write:a", "write:b"])))
    assert writers(tmp_path) == {os.getpid()}


def test_a_job_whose_worker_dies_is_done_by_a_new_one_and_counted_once(tmp_path):
    counted = []
    with counting("images", lambda count, note, found: counted.append(count)):
        workers(2).run(work(tmp_path, "die-once:a", "write:b", "write:c"))
    assert [count_of(tmp_path, f"done-{name}") for name in "abc"] == [1, 1, 1]
    assert [count_of(tmp_path, f"try-*-{name}") for name in "abc"] == [2, 1, 1]
    assert sum(counted) == 3 * SIZE


def test_a_failure_ends_the_work_and_its_workers(tmp_path):
    with pytest.raises(GenrobustError) as error:
        workers(2).run(work(tmp_path, "write:a", "raise-once:b"))
    assert str(error.value) == "unexpected KeyError: 'b'"
    assert "scribe.py" in error.value.__notes__[0], "with the traceback of the other process"
    assert count_of(tmp_path, "try-*-b") == 1
    assert gone(writers(tmp_path))


def test_a_job_that_kills_every_worker_is_named_and_the_others_are_done(tmp_path):
    with pytest.raises(GenrobustError, match="1 of the jobs failed") as error:
        workers(2).run(work(tmp_path, "die:a", "write:b", "write:c", "write:d"))
    assert "job die:a: its worker process died" in str(error.value)
    assert [count_of(tmp_path, f"done-{name}") for name in "bcd"] == [1, 1, 1]


def test_a_mistake_of_the_users_ends_the_work(tmp_path):
    with pytest.raises(UserError, match="a is wrong") as error:
        workers(2).run(work(tmp_path, "mistake:a", "hang:b"))
    assert error.value.exit_code == 2
    assert gone(writers(tmp_path))


def test_jobs_that_are_cheaper_together_are_shared_out_once(tmp_path):
    made = replace(work(tmp_path, *(f"write:{name}" for name in "abcde")), together=True)
    assert [[job.key for job in share] for share in made.shares(2)] == [
        ["write:a", "write:c", "write:e"],
        ["write:b", "write:d"],
    ]
    ended = []
    workers(2).run(replace(made, ended=lambda jobs, seconds: ended.append((len(jobs), seconds >= 0))))
    assert sorted(ended) == [(2, True), (3, True)]


@dataclass(frozen=True)
class Heavy:
    """Loads what a GPU has room for once, such as a generator."""

    name: str
    loaded: ClassVar = weakref.WeakSet()

    def __call__(self):
        assert not self.loaded

        def do(keys):
            return do  # a circle, as pipelines have: it is freed where garbage is collected

        self.loaded.add(do)
        return do


def test_a_worker_forgets_what_it_loaded_before_it_loads_the_next():
    first, other = (pickle.dumps(Heavy(name)) for name in ("first", "other"))
    kept = weakref.ref(loaded(first))
    assert loaded(first) is kept()
    loaded(other)
    assert kept() is None and len(Heavy.loaded) == 1


def test_the_environment_says_how_many_workers(monkeypatch):
    monkeypatch.setenv("GENROBUST_WORKERS", "7")
    assert Processes(recipe_of(device="cpu")).workers() == 7
    assert Processes(recipe_of(device="cpu"), 2).workers() == 2


def test_as_many_workers_as_cores_and_memory_allow(monkeypatch):
    monkeypatch.delenv("GENROBUST_WORKERS", raising=False)

    def room(cores, memory, threads=1):
        monkeypatch.setattr(processes, "cores", lambda: cores)
        monkeypatch.setattr(processes, "free_memory", lambda: memory)
        return Processes(recipe_of(device="cpu", threads=threads)).workers()

    plenty = 100 * processes.WORKER_BYTES
    assert [room(cores, plenty) for cores in (1, 2, 4, 16)] == [1, 2, 4, 16]
    assert [room(16, plenty, threads) for threads in (2, 5, 32)] == [8, 3, 1]
    assert room(16, 3 * processes.WORKER_BYTES) == 3
    assert room(16, 0) == 1
    assert room(16, None) == 16


def test_work_that_loads_much_has_fewer_workers(monkeypatch, tmp_path):
    monkeypatch.delenv("GENROBUST_WORKERS", raising=False)
    monkeypatch.setattr(processes, "cores", lambda: 2)
    executor = Processes(recipe_of(device="cpu"))
    heavy = replace(work(tmp_path, "write:a", "write:b"), memory=10**15)
    executor.run(heavy)
    assert writers(tmp_path) == {os.getpid()}


def test_a_container_s_quota_and_memory_count(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    unlimited = machine.cores()
    for name, text in {"cpu.max": "100000 100000", "memory.max": "3000", "memory.current": "1000"}.items():
        (tmp_path / name).write_text(text + "\n")
    assert (machine.cores(), machine.free_memory()) == (1, 2000)
    (tmp_path / "memory.stat").write_text("anon 500\nactive_file 300\ninactive_file 100\n")
    assert machine.free_memory() == 2400, "files are cached in memory that is given back"
    (tmp_path / "memory.stat").unlink()
    (tmp_path / "own").write_text("4:memory:/slurm/job_7\n0::/batch\n")
    monkeypatch.setattr(machine, "OWN", tmp_path / "own")
    for group, (limit, used) in {
        "memory/slurm/job_7": ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        "batch": ("memory.max", "memory.current"),
    }.items():
        (tmp_path / group).mkdir(parents=True)
        (tmp_path / group / limit).write_text("1500\n")
        (tmp_path / group / used).write_text("1000\n")
        assert machine.free_memory() == 500, group
        (tmp_path / group / limit).unlink()
    assert machine.free_memory() == 2000
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.cores() == unlimited
    assert machine.free_memory() != 2000


COMMAND = """
import signal, sys
from pathlib import Path
from genrobust.core import raise_at_signals
sys.path[:0] = {path!r}
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
signal.signal(signal.SIGHUP, signal.SIG_DFL)
raise_at_signals()
from scribe import meetings, work
from small import recipe_of
from genrobust.study.executors.processes import Processes
if __name__ == "__main__":
    Processes(recipe_of(device="cpu"), 2).run({work})
"""
APART, TOGETHER = 'work(Path(sys.argv[1]), "hang:a", "hang:b")', 'meetings(Path(sys.argv[1]), "hang")'


@pytest.mark.thorough
@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("jobs", [APART, TOGETHER], ids=["apart", "together"])
def test_workers_end_with_the_command(tmp_path, signal_, jobs):
    script, out = tmp_path / "command.py", tmp_path / "out"
    script.write_text(COMMAND.format(path=[str(Path(__file__).parents[n]) for n in (0, 2)], work=jobs))
    out.mkdir()
    words = [sys.executable, script, out]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as command:
        while count_of(out, "hanging-*") < 2:
            assert command.poll() is None
            time.sleep(0.01)
        if signal_ == signal.SIGKILL:
            command.kill()
        else:
            os.killpg(command.pid, signal_)  # as a terminal does, SLURM and timeout
        said = command.communicate()[1]
        assert command.returncode != 0
    # Of a killed command semaphores are left.
    assert signal_ == signal.SIGKILL or not re.search("leaked|resource_tracker|forkserver", said)
    assert gone(writers(out))


STUDY = (
    "generate.per_class=1 generate.shard_size=20 generate.batch_size=10 evaluate.tests=[solid] "
    "train.steps=12 train.validate_every=6 train.save_every=2"
)


@pytest.mark.thorough
def test_neither_the_number_of_workers_nor_killed_ones_change_a_byte(tmp_path):
    recipe = load_recipe("pictograms", (SHORT + STUDY).split())
    here, there = tmp_path / "here", tmp_path / "there"
    Study(recipe, here).run()
    study = Study(recipe, there, executor=Processes(recipe, 3))
    killed = {}

    def kill():
        """Kill a worker in the middle of a shard, and one that has saved a state."""
        for begun in ("generated/*/.0*.part", "checkpoints/*/state-*.safetensors"):
            if begun not in killed and count_of(there, begun) and (found := children()):
                with suppress(ProcessLookupError):  # it has ended by itself
                    os.kill(worker := min(found), signal.SIGKILL)
                    killed[begun] = worker

    with watching(kill):
        study.run()
    assert len(set(killed.values())) == 2
    stages = ("generated", "checkpoints", "predictions")
    alone, together = ({name: contents(out / name) for name in stages} for out in (here, there))
    assert all(alone.values())
    assert alone == together
