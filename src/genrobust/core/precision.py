"""Numeric precision: which ones a device computes at full speed.

On a CPU without bfloat16 instructions, matrix products in bfloat16 are 50 to 70 times slower than in float32. Nvidia's
GPUs have them since compute capability 8.0. torch computes in bfloat16 on any device, without a warning.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FLOAT32 = "float32"
# bfloat16 comes first: it has the range of float32, so nothing overflows.
PREFERRED = ("bfloat16", "float16", FLOAT32)
CPUINFO = Path("/proc/cpuinfo")
# Flags of the CPU as Linux and torch name them.
BFLOAT16_FLAGS = {"amx_bf16": "AMX_BF16", "avx512_bf16": "AVX512_BF16", "bf16": "Arm's BF16"}
# Environment variable that limits the instructions that torch uses, and values that allow bfloat16.
CAP = "ONEDNN_MAX_CPU_ISA"
CAPS_WITH_BFLOAT16 = ("BF16", "FP16", "AMX", "AVX10", "ALL", "DEFAULT")


@dataclass(frozen=True, slots=True)
class Hardware:
    """Devices of one `kind` ("cuda", "mps" or "cpu") and the precisions that they compute at full speed.

    `why` is the reason in words: "this CPU has AVX512_BF16".
    """

    kind: str
    fast: frozenset[str]
    why: str

    @property
    def best(self) -> str:
        """The precision that `auto` chooses."""
        return next(precision for precision in PREFERRED if precision in self.fast)


@cache
def hardware(kind: str) -> Hardware:
    """Return the precisions that this machine's devices of `kind` compute at full speed.

    Loads torch for "cuda", and for "cpu" except on Linux, which lists the instructions of the CPU.
    """
    if kind == "cuda":
        return _cuda_hardware()
    if kind == "mps":
        return Hardware(kind, frozenset({FLOAT32}), "Apple's GPUs differ in what they are fast in")
    cap = os.environ.get(CAP, "").upper()
    if cap and not any(word in cap for word in CAPS_WITH_BFLOAT16):
        return Hardware(kind, frozenset({FLOAT32}), f"{CAP}={cap} allows no bfloat16 instructions")
    flags = _cpu_flags()
    for flag, name in BFLOAT16_FLAGS.items():
        if flag in flags:
            return Hardware(kind, frozenset({FLOAT32, "bfloat16"}), f"this CPU has {name}")
    return Hardware(kind, frozenset({FLOAT32}), "this CPU has no bfloat16 instructions")


def in_common(machines: Sequence[Hardware]) -> Hardware:
    """Return the precisions that all machines of a cluster compute at full speed."""
    kind = machines[0].kind
    fast = frozenset.intersection(*(machine.fast for machine in machines))
    of_any = frozenset.union(*(machine.fast for machine in machines))
    wanted = next(precision for precision in PREFERRED if precision in of_any)
    lacking = [machine for machine in machines if wanted not in machine.fast]
    if lacking:
        return Hardware(kind, fast, f"{len(lacking)} of {len(machines)} nodes: {lacking[0].why}")
    return Hardware(kind, fast, f"all nodes: {machines[0].why}")


def _cpu_flags() -> frozenset[str]:
    """Return the instructions that all cores have. On Linux, read /proc/cpuinfo: loading torch takes seconds."""
    if sys.platform != "linux":
        import torch

        capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.11
        return frozenset(name for name, value in capabilities.items() if value is True)
    cores = []
    for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, flags = line.partition(":")
        if key.strip() in ("flags", "Features"):  # x86, Arm
            cores.append(frozenset(flags.split()))
    return frozenset.intersection(*cores) if cores else frozenset()


def _cuda_hardware() -> Hardware:
    import torch

    cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    if not cards:
        return Hardware("cuda", frozenset({FLOAT32}), "no CUDA device is visible")
    if torch.version.hip:
        return Hardware("cuda", frozenset(PREFERRED), "GPUs of ROCm compute it")
    for card in cards:
        if card.major < 8:
            why = f"{card.name} has compute capability {card.major}.{card.minor}, and bfloat16 needs 8.0"
            return Hardware("cuda", frozenset({FLOAT32, "float16"}), why)
    why = f"{cards[0].name} has compute capability {cards[0].major}.{cards[0].minor}"
    return Hardware("cuda", frozenset(PREFERRED), why)
