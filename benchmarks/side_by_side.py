"""Times several variants of one task in one run: interleaved, as ratios of medians with their spread."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import torch

from genrobust.core import cores, hardware


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Wall-clock seconds of each variant in each of `rounds` rounds; a round calls all variants, in turn.

    So other load on the machine affects all of them alike. Each is called once before as a warm-up, which does not
    count. Every other round goes backwards, so that no variant always follows the same other one.
    """
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name in list(ways)[:: 1 if turn % 2 == 0 else -1]:
            began = time.perf_counter()
            ways[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def rate(items: int, seconds: Sequence[float]) -> str:
    """Items a second: for the median time, and the slowest and fastest round."""
    return _with_spread(items / median(seconds), [items / s for s in seconds])


def times_faster(seconds: Sequence[float], than: Sequence[float]) -> str:
    """The speed relative to `than`: the ratio of the median times, and the extremes of single rounds.

    Both have one time for each of the same rounds (see `interleaved`), for as many items.
    """
    return _with_spread(median(than) / median(seconds), [b / a for a, b in zip(seconds, than, strict=True)])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def where_and_when() -> str:
    """The line below a table: processors, accelerator, versions, date."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    processor = f"{_processor()}, {_instructions()}"
    return (
        f"{cores()} CPU cores ({processor}){gpu}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    )


def use_cores(count: int) -> None:
    """Keep this process and its children on the first `count` processors that it may use (only on Linux)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    torch.set_num_threads(min(count, cores()))


def _with_spread(value: float, values: Sequence[float]) -> str:
    def told(x: float) -> str:
        return f"{x:,.0f}" if value >= 100 else f"{x:.3g}" if value >= 10 else f"{x:.2f}"

    return f"{told(value)} ({told(min(values))} to {told(max(values))})"


def _instructions() -> str:
    """The instructions that torch uses on this CPU and in this environment: "AVX2, no bfloat16"."""
    bfloat16 = "bfloat16" if "bfloat16" in hardware("cpu").fast else "no bfloat16"
    return f"{torch.backends.cpu.get_cpu_capability()}, {bfloat16}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
