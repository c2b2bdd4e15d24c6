"""Choose a device by name, and set how torch uses threads and memory."""

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

# Parameters of glibc's <malloc.h>, each with its number and our value.
MALLOPT = {"M_TRIM_THRESHOLD": (-1, -1), "M_TOP_PAD": (-2, 64 << 20), "M_MMAP_MAX": (-4, 0)}
KINDS = ("cuda", "mps", "cpu")
# How threads wait for each other. GNU's OpenMP, which torch uses on Linux, polls so many times before it sleeps.
# Without polling, training a small network on 2 CPU cores takes a seventh longer. With GNU's default of 300,000, it
# takes twice as long next to a busy program. Other OpenMPs read only the policy.
WAITING = {"GOMP_SPINCOUNT": "10000", "OMP_WAIT_POLICY": "PASSIVE"}
# A Python that starts with this variable imports no module from the current folder.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}


def available_devices() -> list[str]:
    """Return the names that `resolve_device` accepts on this machine, fastest first. "cpu" is always last."""
    import torch

    names = []
    if torch.cuda.is_available() and torch.cuda.device_count():
        names = ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device called `name`. "auto" prefers cuda, then mps, then cpu."""
    import torch

    devices = available_devices()
    chosen = devices[0] if name == "auto" else name
    if chosen not in devices:
        raise UserError(f"no device {name!r} on this machine; use one of: auto, {', '.join(devices)}")
    return torch.device(chosen)


def device_kind(name: str = "auto") -> str:
    """Return the kind of the device called `name`: "cuda", "mps" or "cpu".

    A kind is returned without a check, because the device may be on another machine. torch, which takes seconds to
    load, is loaded only if necessary.
    """
    if name in KINDS:
        return name
    if name == "auto" and metadata.version("torch").endswith("+cpu"):
        return "cpu"
    return resolve_device(name).type


def waiting_of_threads() -> dict[str, str]:
    """Return environment variables to set before torch is loaded: the user's own, or else `WAITING`."""
    own = {name: os.environ[name] for name in WAITING if name in os.environ}
    return own or dict(WAITING)


def worker_environment(threads: int) -> dict[str, str]:
    """Return the environment variables of a worker process with so many CPU threads."""
    return {"OMP_NUM_THREADS": str(threads), **SAFE_PATH, **waiting_of_threads()}


def set_threads(n: int) -> None:
    """Let torch use `n` CPU threads. A recipe fixes the number, because the order of sums depends on it."""
    import torch

    torch.set_num_threads(n)


@contextmanager
def repeatable(tf32: bool = False) -> Iterator[None]:
    """Make cuDNN's convolutions deterministic in the block, with or without TF32 for float32.

    By default, the fastest algorithms sum in any order. TF32 rounds factors to 10 bits. Both settings are global, so
    they are restored: otherwise one job would change the results of the next.
    """
    from torch.backends import cudnn

    settings: Any = cudnn
    key: str = "allow_tf32"
    value: bool | str = tf32
    try:
        before = getattr(settings, key)
    except RuntimeError:
        # The program has used torch's newer names for this setting. torch refuses to mix both.
        settings, key, value = settings.conv, "fp32_precision", "tf32" if tf32 else "ieee"
        before = getattr(settings, key)
    was_deterministic = cudnn.deterministic
    cudnn.deterministic = True
    setattr(settings, key, value)
    try:
        yield
    finally:
        cudnn.deterministic = was_deterministic
        setattr(settings, key, before)


@lru_cache(maxsize=1)
def room_for_code(key: Hashable) -> None:
    """Forget compiled code, unless the last networks that this process compiled had the same `key`.

    PyTorch keeps 8 versions of the code of a function per process, one for each shape and network. After that it stops
    to compile, with a warning at most, and later networks would be slow.
    """
    import torch

    torch.compiler.reset()


def compiler_options() -> dict[str, bool]:
    """Return `options` for torch.compile that make the same code in every process. Empty before torch 2.10.

    By default Inductor times kernels that sum in different orders and takes the fastest. Another process may choose
    another kernel. But a resumed training or dataset must end with the same numbers.
    """
    from torch.torch_version import TorchVersion

    if TorchVersion(metadata.version("torch")) >= "2.10":
        return {"deterministic": True}
    return {}


def keep_freed_memory(device: torch.device) -> None:
    """Let this process keep freed memory for its next tensors, if `device` is a CPU and the system has glibc.

    By default glibc returns large blocks to the system, and gets them back page by page. A training step on a CPU frees
    all memory that it took, so this costs a sixth of the CPU time of training a small network. With a GPU, the process
    would keep the memory that loading the weights took.
    """
    if device.type != "cpu" or sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return
    for parameter, value in MALLOPT.values():
        mallopt(parameter, value)
