"""Worker processes on this machine: what dies is tried again, what fails ends the work, and nothing outlives it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from scribe import SIZE, work
from small import (
    children,
    count_of,
    gone,
    recipe_of,
    watching,
)
from small_study import SHORT, contents

from genrobust.core import GenrobustError, UserError, counting
from genrobust.recipe import load_recipe
from genrobust.study import Processes, Study
from genrobust.study.executors import local_processes as processes


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
    timed = {}

    def ended(jobs, seconds):
        timed.update({job.key: seconds is not None for job in jobs})

    jobs = work(tmp_path, "die-once:a", "write:b", "write:c")
    with counting("images", lambda count, note, found: counted.append(count)):
        workers(2).run(replace(jobs, ended=ended))
    assert [count_of(tmp_path, f"done-{name}") for name in "abc"] == [1, 1, 1]
    assert [count_of(tmp_path, f"try-*-{name}") for name in "abc"] == [2, 1, 1]
    assert sum(counted) == 3 * SIZE
    # The second try may go on from what the first one did, so its time says nothing.
    assert timed == {"die-once:a": False, "write:b": True, "write:c": True}


def test_a_failure_ends_the_work_and_its_workers(tmp_path):
    with pytest.raises(KeyError, match="b") as error:
        workers(2).run(work(tmp_path, "write:a", "raise-once:b"))
    assert "scribe.py" in error.value.__notes__[0], "with the traceback of the other process"
    assert count_of(tmp_path, "try-*-b") == 1
    assert gone(writers(tmp_path))


def test_a_job_that_kills_every_worker_is_named_and_the_others_are_done(tmp_path):
    with pytest.raises(GenrobustError, match="1 of the jobs") as error:
        workers(2).run(work(tmp_path, "die:a", "write:b", "write:c", "write:d"))
    assert "job die:a: " in str(error.value)
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


def test_the_environment_says_how_many_workers_and_before_it_the_recipe(monkeypatch):
    """Also where a command or a script opens no executor of the recipe's."""
    monkeypatch.setenv("GENROBUST_WORKERS", "7")
    assert Processes(recipe_of(device="cpu")).workers() == 7
    assert Processes(recipe_of(device="cpu", execute={"workers": 3})).workers() == 3
    assert Processes(recipe_of(device="cpu", execute={"workers": 3}), 2).workers() == 2


def test_a_study_from_python_has_the_executor_of_its_recipe(tmp_path):
    study = Study(recipe_of(device="cpu", execute={"workers": 3}), tmp_path)
    assert study.context.executor.workers() == 3


UNGUARDED = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from scribe import work
from small import recipe_of
from genrobust.study import Processes
out = Path(sys.argv[1])
(out / "began").open("x").close()
Processes(recipe_of(device="cpu"), 2).run(work(out, "write:a", "write:b"))
"""


def test_workers_do_not_run_the_script_that_starts_them(tmp_path):
    """A script needs no ``if __name__ == "__main__":``."""
    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(UNGUARDED.format(path=[str(Path(__file__).parents[n]) for n in (0, 2)]))
    out.mkdir()
    subprocess.run([sys.executable, script, out], check=True, timeout=120)
    assert count_of(out, "done-*") == 2
    assert len(writers(out)) == 2


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


COMMAND = """
import signal, sys
from pathlib import Path
from genrobust.core import raise_at_signals
sys.path[:0] = {path!r}
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
signal.signal(signal.SIGHUP, signal.SIG_DFL)
raise_at_signals()
from scribe import work
from small import recipe_of
from genrobust.study.executors import local_processes as local
local.PRELOAD, local.PRELOAD_TO_GENERATE = [], []  # these jobs need none of it
if __name__ == "__main__":
    local.Processes(recipe_of(device="cpu"), 2).run(work(Path(sys.argv[1]), "hang:a", "hang:b"))
"""


@pytest.mark.thorough
@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_workers_end_with_the_command(tmp_path, signal_):
    script, out = tmp_path / "command.py", tmp_path / "out"
    script.write_text(COMMAND.format(path=[str(Path(__file__).parents[n]) for n in (0, 2)]))
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


@pytest.fixture
def on_gpus(monkeypatch):
    """Makes the executor of a machine with the GPUs of these names."""
    monkeypatch.delenv(processes.WORKERS, raising=False)

    def make(*gpus, count=None):
        monkeypatch.setattr(processes, "_gpus", lambda device: list(gpus))
        return Processes(recipe_of(device="cpu"), count)

    return make


def seen(folder):
    """Which GPU each worker process saw, from what its jobs wrote down."""
    return {told["process"]: told["gpus"] for told in (json.loads(p.read_text()) for p in folder.glob("done-*"))}


@pytest.mark.thorough
def test_each_gpu_has_a_worker_that_sees_no_other(on_gpus, tmp_path):
    executor = on_gpus("0", "1", "GPU-7f")
    assert executor.workers() == 3
    executor.run(work(tmp_path, *(f"meet-3:{name}" for name in "abcdef")))
    assert sorted(seen(tmp_path).values()) == ["0", "1", "GPU-7f"]
    assert os.environ.get("CUDA_VISIBLE_DEVICES") is None


@pytest.mark.thorough
def test_more_workers_than_gpus_share_them(on_gpus, tmp_path):
    on_gpus("0", "1", count=4).run(work(tmp_path, *(f"meet-4:{name}" for name in "abcd")))
    assert sorted(seen(tmp_path).values()) == ["0", "0", "1", "1"]


@pytest.mark.thorough
def test_a_worker_that_dies_is_replaced_on_its_gpu(on_gpus, tmp_path):
    on_gpus("0", "1").run(work(tmp_path, "die-once:a", "write:b", "write:c", "write:d"))
    assert set(seen(tmp_path).values()) <= {"0", "1"} and len(list(tmp_path.glob("done-*"))) == 4


@pytest.mark.parametrize(
    ("visible", "seen", "gpus"),
    [
        ("0,1", 2, ["0", "1"]),
        ("3", 1, ["3"]),
        (" 2, 5 ", 2, ["2", "5"]),
        ("1,-1,0", 1, ["1"]),  # CUDA stops at the first that there cannot be
        ("0,7", 1, ["0"]),  # or that there is not
    ],
)
def test_those_that_the_environment_names_are_used(monkeypatch, visible, seen, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("torch.cuda.device_count", lambda: seen)
    assert processes._gpus("cuda") == gpus


@pytest.mark.parametrize(("device", "gpus"), [("cpu", []), ("mps", None)])
def test_other_devices_have_none_to_share_out(device, gpus):
    assert processes._gpus(device) == gpus
