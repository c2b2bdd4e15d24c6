"""Numeric precision: what devices compute at full speed.

On a CPU without bfloat16 instructions matrix products in bfloat16 are 50 to 70 times slower than in float32, and before
compute capability 8.0 no GPU of Nvidia's has them. torch computes in it all the same, so that speed alone tells.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrobust.core.errors import GenrobustError
from genrobust.core.files import make_folder, replacing
from genrobust.core.machine import user_cache

if TYPE_CHECKING:
    import torch

FLOAT32 = "float32"
PREFERRED = ("bfloat16", "float16", FLOAT32)  # bfloat16 has the range of float32: nothing overflows
CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"amx_bf16": "AMX_BF16", "avx512_bf16": "AVX512_BF16", "bf16": "Arm's BF16"}  # as Linux names them
ONEDNN_CAPS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # oneDNN takes the first that is set
# Values of these that leave oneDNN no bfloat16. AVX2_VNNI_2 converts it, and has no products in it.
BELOW_BFLOAT16 = {
    *("sse41", "avx", "avx2", "avx2_vnni", "avx2_vnni_2"),
    *("avx512_mic", "avx512_mic_4ops", "avx512_core", "avx512_core_vnni"),
}
ATEN_CAP, ATEN_BELOW = "ATEN_CPU_CAPABILITY", {"default", "avx2"}
CLEAR = 1.2  # times as fast: less is noise, and a choice that flips between runs would redo all work
PRECISION_JSON = "precision.json"


@dataclass(frozen=True, slots=True)
class Hardware:
    """Devices of one `kind` ("cuda", "mps" or "cpu") and the precisions that they compute at full speed.

    `why` says how that is known, as words that follow the name of the precision: "this CPU has AVX512_BF16".
    """

    kind: str
    fast: frozenset[str]
    why: str

    @property
    def best(self) -> str:
        """The precision that `auto` stands for."""
        return next(precision for precision in PREFERRED if precision in self.fast)


@cache
def hardware(kind: str) -> Hardware:
    """Return what the devices of `kind` of this machine compute at full speed.

    Loads torch for "cuda" and "mps", and for "cpu" where the system does not list the instructions of the CPU.
    """
    if kind == "cuda":
        return _cuda_hardware()
    if kind == "mps":
        import torch

        fastest = remembered(f"mps, {platform.machine()}", lambda: fastest_precision(torch.device("mps")))
        return Hardware(kind, frozenset({FLOAT32, fastest}), "measured once on this device")
    return cpu_hardware(_cpu_flags(), os.environ)


def in_common(found: Sequence[Hardware]) -> Hardware:
    """Return what all machines of a cluster compute at full speed; `found` has one entry or more, of one kind."""
    fast = frozenset.intersection(*(here.fast for here in found))
    wanted = next(precision for precision in PREFERRED if any(precision in here.fast for here in found))
    lacking = [here for here in found if wanted not in here.fast]
    nodes = f"{len(lacking)} of {len(found)} nodes" if lacking else "all nodes"
    return Hardware(found[0].kind, fast, f"{nodes}: {(lacking or found)[0].why}")


def cpu_hardware(flags: frozenset[str], environment: Mapping[str, str]) -> Hardware:
    """Return what a CPU with these `flags`, in the words of Linux, computes at full speed in such an environment."""
    name = next((words for flag, words in BFLOAT16_FLAGS.items() if flag in flags), None)
    if name is None:
        return Hardware("cpu", frozenset({FLOAT32}), "this CPU has no bfloat16 instructions")
    if "bf16" not in flags and (cap := _cap_of(environment)) is not None:  # the caps name instructions of x86
        return Hardware("cpu", frozenset({FLOAT32}), f"{cap} turns the bfloat16 instructions of this CPU off")
    return Hardware("cpu", frozenset({FLOAT32, "bfloat16"}), f"this CPU has {name}")


def cpuinfo_flags(text: str) -> frozenset[str]:
    """Return the flags that all cores have, from the text of /proc/cpuinfo."""
    lines = [line.partition(":") for line in text.splitlines()]
    cores = [frozenset(flags.split()) for key, _, flags in lines if key.strip() in ("flags", "Features")]
    return frozenset.intersection(*cores) if cores else frozenset()


def _cpu_flags() -> frozenset[str]:
    if sys.platform == "linux":
        try:
            return cpuinfo_flags(CPUINFO.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            return frozenset()
    if sys.platform == "darwin":
        words = ["sysctl", "-n", "hw.optional.arm.FEAT_BF16"]
        try:
            printed = subprocess.run(words, capture_output=True, text=True, check=False, timeout=10).stdout
        except (OSError, subprocess.SubprocessError):
            printed = ""
        return frozenset({"bf16"} if printed.strip() == "1" else ())
    import torch

    capabilities: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    return frozenset(name for name, value in capabilities().items() if value is True)


def _cap_of(environment: Mapping[str, str]) -> str | None:
    """The setting that keeps torch from bfloat16 instructions of x86, as NAME=value."""
    isa = next((name for name in ONEDNN_CAPS if environment.get(name)), None)
    for name, below in ((isa, BELOW_BFLOAT16), (ATEN_CAP, ATEN_BELOW)):
        if name is not None and environment.get(name, "").lower() in below:
            return f"{name}={environment[name]}"
    return None


def _cuda_hardware() -> Hardware:
    import torch

    # What torch.cuda.is_bf16_supported(including_emulation=False) asks of the current card, of all that are visible.
    cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    if not cards:
        return Hardware("cuda", frozenset({FLOAT32}), "no CUDA device is visible")
    if torch.version.hip:
        return Hardware("cuda", frozenset(PREFERRED), "GPUs of ROCm compute it")
    old = next((card for card in cards if card.major < 8), None)
    if old is not None:
        why = f"{old.name} has compute capability {old.major}.{old.minor}, and bfloat16 needs 8.0"
        return Hardware("cuda", frozenset({FLOAT32, "float16"}), why)
    why = f"{cards[0].name} has compute capability {cards[0].major}.{cards[0].minor}"
    return Hardware("cuda", frozenset(PREFERRED), why)


def fastest_precision(device: torch.device, size: int = 64) -> str:
    """Time a step of `step_seconds` in each precision on `device`, and return the one that `clear_winner` chooses."""
    seconds = {}
    for precision in PREFERRED:
        try:
            seconds[precision] = step_seconds(device, precision, size)
        except (RuntimeError, TypeError):
            continue  # it does not compute in it at all
    return clear_winner(seconds)


def clear_winner(seconds: Mapping[str, float]) -> str:
    """Return the fastest precision, by the seconds of a step in each.

    It leaves float32 only for one that is `CLEAR` times as fast, and bfloat16 for float16 likewise.
    """
    fast = {p: s for p, s in seconds.items() if p == FLOAT32 or s * CLEAR <= seconds.get(FLOAT32, float("inf"))}
    best = min(fast, key=fast.__getitem__, default=FLOAT32)
    if best == "float16" and "bfloat16" in fast and fast["bfloat16"] <= CLEAR * fast["float16"]:
        return "bfloat16"
    return best


def step_seconds(device: torch.device, precision: str, size: int = 64, times: int = 9) -> float:
    """Return the median seconds of a convolution and a matrix product with their gradients, after two warm-up steps.

    `size` is the number of channels and the pixels of a side: 64 keeps a GPU busy. Any torch device will do.
    """
    import torch

    dtype = getattr(torch, precision)
    images = torch.ones(8, size, size, size, device=device, dtype=dtype)
    kernel = torch.full((size, size, 3, 3), 0.01, device=device, dtype=dtype, requires_grad=True)
    matrix = torch.full((size * size, size), 0.01, device=device, dtype=dtype, requires_grad=True)
    taken = []
    for _ in range(times + 2):
        began = time.perf_counter()
        made = torch.nn.functional.conv2d(images, kernel, padding=1).flatten(2) @ matrix
        made.float().mean().backward()  # type: ignore[no-untyped-call]
        assert kernel.grad is not None
        kernel.grad.float().sum().item()  # waits for the device
        taken.append(time.perf_counter() - began)
    return sorted(taken[2:])[times // 2]


def remembered(name: str, measure: Callable[[], str]) -> str:
    """Return the precision that was measured as `name` before, and else measure it and keep it.

    Folder names depend on it, so a different result in a later run would redo all work. It is kept in the user's cache,
    which all output folders share; delete the file to measure again.
    """
    try:
        file = user_cache() / PRECISION_JSON
    except RuntimeError:  # a user without a home
        return measure()
    try:
        known = dict(json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        known = {}  # none yet, or damaged
    if known.get(name) in PREFERRED:
        return str(known[name])
    known[name] = chosen = measure()
    with suppress(GenrobustError):  # a cache that cannot be written: the margin of `clear_winner` has to do
        make_folder(file.parent)
        with replacing(file, mirrored=False) as written:
            written.write(json.dumps(dict(sorted(known.items())), indent=1).encode())
    return chosen
