"""Devices by name, and the number of CPU threads."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from genrobust.core.errors import UserError

if TYPE_CHECKING:
    import torch

MALLOPT = {"M_TRIM_THRESHOLD": (-1, -1), "M_TOP_PAD": (-2, 64 << 20), "M_MMAP_MAX": (-4, 0)}  # of <malloc.h>, to what
KINDS = ("cuda", "mps", "cpu")
# How threads wait for each other. GNU's OpenMP, which torch's Linux builds use, polls so often before it sleeps. Never
# polling costs a seventh of the time of training a small network on 2 CPU cores; GNU's default of 300,000 doubles that
# time beside a busy program. Other OpenMPs read only the policy.
WAITING = {"GOMP_SPINCOUNT": "10000", "OMP_WAIT_POLICY": "PASSIVE"}
SAFE_PATH = {"PYTHONSAFEPATH": "1"}  # a Python that starts with it imports no module from the current folder


def available_devices() -> list[str]:
    """The names that `resolve_device` accepts on this machine, fastest first; "cpu" is always last."""
    import torch

    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if names:
        names.insert(0, "cuda")
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def resolve_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" prefers cuda, then mps, then cpu.

    Raises:
        UserError: This machine has no such device; the message lists those that it has.
    """
    import torch

    devices = available_devices()
    chosen = devices[0] if name == "auto" else name
    if chosen not in devices:
        raise UserError(f"no device {name!r} on this machine; use one of: auto, {', '.join(devices)}")
    return torch.device(chosen)


def device_kind(name: str = "auto") -> str:
    """The kind of the device called `name`: "cuda", "mps" or "cpu".

    A `name` that is a kind is returned without a check, since the device may be on another machine. Loads torch, which
    takes seconds, only if it must.

    Raises:
        UserError: This machine has no such device.
    """
    if name in KINDS:
        return name
    if name == "auto" and metadata.version("torch").endswith("+cpu"):
        return "cpu"
    return resolve_device(name).type


def waiting_of_threads() -> dict[str, str]:
    """Environment variables to set before torch is loaded: the user's own, or else `WAITING`."""
    return {name: os.environ[name] for name in WAITING if name in os.environ} or dict(WAITING)


def worker_environment(threads: int) -> dict[str, str]:
    """Environment variables of a worker process with so many CPU threads, to set before it starts."""
    return {"OMP_NUM_THREADS": str(threads), **SAFE_PATH, **waiting_of_threads()}


def set_threads(n: int) -> None:
    """Let torch use `n` CPU threads. The order of sums depends on the number, so a recipe fixes it."""
    import torch

    torch.set_num_threads(n)


@contextmanager
def repeatable(tf32: bool = False) -> Iterator[None]:
    """Let cuDNN's convolutions sum in one order in the block, and round their factors in float32 to TF32, or not.

    Its fastest ones sum in any order, and TF32 has 10 bits. Both are settings of the process: what one job left on
    would change what the next one draws or learns.
    """
    from torch.backends import cudnn

    settings: Any = cudnn
    key: str = "allow_tf32"
    value: bool | str = tf32
    try:
        before = getattr(settings, key)
    except RuntimeError:  # the program has set it by torch's newer names, and must not mix them
        settings, key, value = settings.conv, "fp32_precision", "tf32" if tf32 else "ieee"
        before = getattr(settings, key)
    order, cudnn.deterministic = cudnn.deterministic, True
    setattr(settings, key, value)
    try:
        yield
    finally:
        cudnn.deterministic = order
        setattr(settings, key, before)


@lru_cache(maxsize=1)
def room_for_code(key: Hashable) -> None:
    """Let this process compile networks anew, unless the last that it compiled were those of an equal `key`.

    PyTorch keeps 8 versions of a function's code in a process, one for each shape of whatever network runs it. Beyond
    them it compiles no more, and says so in a warning at most: a later network would be as slow as without.
    """
    import torch

    torch.compiler.reset()


def compiler_options() -> dict[str, bool]:
    """Return the `options` with which torch.compile makes the same code in every process; {} before torch 2.10.

    By default Inductor times kernels that sum in different orders and takes the fastest, which another process may
    decide otherwise. But a killed training or dataset that goes on is to end with the same numbers.
    """
    from torch.torch_version import TorchVersion

    return {"deterministic": True} if TorchVersion(metadata.version("torch")) >= "2.10" else {}


def keep_freed_memory(device: torch.device) -> None:
    """Let this process keep the memory that it frees, for the next tensors on the CPU, where `device` is one.

    It needs glibc, and does nothing without it. Where a GPU computes, the CPU would keep what loading the weights took.

    By default glibc returns large blocks to the system, and gets them anew page by page. A training step on a CPU frees
    all that it took: those pages are a sixth of the CPU time of training a small network.
    """
    linux_cpu = device.type == "cpu" and sys.platform == "linux"
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if linux_cpu else None
    if mallopt is not None:  # musl has none
        for parameter, value in MALLOPT.values():
            mallopt(parameter, value)
