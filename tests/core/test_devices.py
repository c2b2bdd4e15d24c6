import resource
import subprocess
import sys
import textwrap

import pytest
import torch

from genrobust.core import (
    UserError,
    available_devices,
    device_kind,
    repeatable,
    resolve_device,
    room_for_code,
    waiting_of_threads,
)
from genrobust.core.devices import WAITING


def test_auto_takes_the_best_device_and_every_name_resolves():
    assert resolve_device("auto") == torch.device(available_devices()[0])
    assert available_devices()[-1] == "cpu"
    assert [str(resolve_device(name)) for name in available_devices()] == available_devices()


def test_the_kind_of_a_device_is_that_of_torchs_or_what_another_machine_is_said_to_have():
    for name in ("auto", *available_devices()):
        assert device_kind(name) == resolve_device(name).type
    assert [device_kind(name) for name in ("cuda", "mps", "cpu")] == ["cuda", "mps", "cpu"]
    with pytest.raises(UserError, match="no device 'gpu'"):
        device_kind("gpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", "cpu:0"])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(name):
    with pytest.raises(UserError, match=r"use one of: auto, .*cpu"):
        resolve_device(name)


def test_how_threads_wait_is_the_users_to_say(monkeypatch):
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    assert waiting_of_threads() == WAITING
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # a count of looks would go before it
    assert waiting_of_threads() == {"OMP_WAIT_POLICY": "ACTIVE"}


def test_code_is_kept_for_the_same_and_makes_room_for_other():
    compiled = []

    @torch.compile(backend=lambda graph, inputs: compiled.append(graph) or graph.forward)
    def double(numbers):
        return numbers + numbers

    for of, times in (("one", 1), ("one", 1), ("other", 2), ("one", 3)):
        room_for_code(of)
        assert (double(torch.ones(3)) == 2).all() and len(compiled) == times


# Memory is taken and left as a training does it: much at once, again and again.
FAULTS = """
import resource, torch
from genrobust.core import keep_freed_memory
keep_freed_memory(torch.device("cpu"))
def fill():
    return torch.ones(16 << 20)
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is set on Linux alone")
def test_memory_that_was_freed_is_used_again():
    pages = 5 * (64 << 20) // resource.getpagesize()  # as the system hands it out, unless it does so in larger ones
    ran = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < pages / 50


def test_convolutions_are_repeatable_in_the_block_and_as_before_after_it():
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.allow_tf32
    with pytest.raises(KeyError), repeatable():
        assert (cudnn.deterministic, cudnn.allow_tf32) == (True, False)
        raise KeyError
    assert (cudnn.deterministic, cudnn.allow_tf32) == before


def test_a_program_may_have_set_precisions_by_their_newer_names():
    script = """
        import torch
        from genrobust.core import repeatable

        conv = torch.backends.cudnn.conv
        conv.fp32_precision = "ieee"
        with repeatable(tf32=True):
            assert conv.fp32_precision == "tf32"
        assert conv.fp32_precision == "ieee"
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
