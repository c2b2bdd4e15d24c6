"""Numeric precision: what devices compute at full speed.

On a CPU without bfloat16 instructions matrix products in bfloat16 are 50 to 70 times slower than in float32, and before
compute capability 8.0 no GPU of Nvidia's has them. torch computes in it all the same, so that speed alone tells.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FLOAT32 = "float32"
PREFERRED = ("bfloat16", "float16", FLOAT32)  # bfloat16 has the range of float32: nothing overflows
CPUINFO = Path("/proc/cpuinfo")
# As Linux and torch name them.
BFLOAT16_FLAGS = {"amx_bf16": "AMX_BF16", "avx512_bf16": "AVX512_BF16", "bf16": "Arm's BF16"}
CAP = "ONEDNN_MAX_CPU_ISA"  # the variable that keeps torch from newer instructions
CAPS_WITH_BFLOAT16 = ("BF16", "FP16", "AMX", "AVX10", "ALL", "DEFAULT")  # in its values


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

    Loads torch for "cuda", and for "cpu" where the system is not Linux, which lists the instructions of the CPU.
    """
    if kind == "cuda":
        return _cuda_hardware()
    if kind == "mps":
        return Hardware(kind, frozenset({FLOAT32}), "Apple's GPUs differ in what they are fast in")
    cap = os.environ.get(CAP, "").upper()
    if cap and not any(word in cap for word in CAPS_WITH_BFLOAT16):
        return Hardware(kind, frozenset({FLOAT32}), f"{CAP}={cap} allows no bfloat16 instructions")
    name = next((words for flag, words in BFLOAT16_FLAGS.items() if flag in _cpu_flags()), None)
    if name is None:
        return Hardware(kind, frozenset({FLOAT32}), "this CPU has no bfloat16 instructions")
    return Hardware(kind, frozenset({FLOAT32, "bfloat16"}), f"this CPU has {name}")


def in_common(machines: Sequence[Hardware]) -> Hardware:
    """Return what all machines of a cluster compute at full speed; `machines` has one entry or more, of one kind."""
    fast = frozenset.intersection(*(machine.fast for machine in machines))
    wanted = next(precision for precision in PREFERRED if any(precision in machine.fast for machine in machines))
    lacking = [machine for machine in machines if wanted not in machine.fast]
    nodes = f"{len(lacking)} of {len(machines)} nodes" if lacking else "all nodes"
    return Hardware(machines[0].kind, fast, f"{nodes}: {(lacking or machines)[0].why}")


def _cpu_flags() -> frozenset[str]:
    """The instructions of all cores, from the text of /proc/cpuinfo: loading torch would take seconds."""
    if sys.platform != "linux":
        import torch

        capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.11 or later knows them
        return frozenset(name for name, value in capabilities.items() if value is True)
    lines = [line.partition(":") for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()]
    cores = [frozenset(flags.split()) for key, _, flags in lines if key.strip() in ("flags", "Features")]
    return frozenset.intersection(*cores) if cores else frozenset()


def _cuda_hardware() -> Hardware:
    import torch

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
