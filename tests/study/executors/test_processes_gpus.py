"""Several GPUs of one machine, a worker process each. The workers here are real, and have no GPU to compute on."""

import json
import os

import pytest
from scribe import work
from small import recipe_of

from genrobust.study import Processes
from genrobust.study.executors import processes


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
