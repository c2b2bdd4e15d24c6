"""What this machine has for work: its cores, its free memory, and what else keeps it busy. Loads no torch."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # version 2: what a container or a batch job may use
BUSY_LOAD = 1.5  # runnable processes a core: beyond it, someone else wants the cores too
SCARCE_MEMORY = 0.05  # of all memory: below it, systems begin to swap and to drop what they had read


def cores() -> int:
    """The CPU cores that this process may use, by its affinity and its container's quota; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        allowed = min(allowed, int(quota) // int(period))
    return max(1, allowed)


def free_memory() -> int | None:
    """The bytes of memory that new work can take without swapping; None where the system does not say."""
    found = _memory().get("MemAvailable")
    limit, used = _read(CGROUP / "memory.max").strip(), _read(CGROUP / "memory.current").strip()
    if limit.isdigit() and used.isdigit():
        left = int(limit) - int(used)
        return left if found is None else min(found, left)
    return found


def why_slow(busy_cores: int) -> str:
    """What slows this machine, in words, where it can be seen; `busy_cores` are those that this program keeps busy."""
    memory = _memory()
    if memory and memory["MemAvailable"] < SCARCE_MEMORY * memory["MemTotal"]:
        return f"memory is short ({memory['MemAvailable'] / 1e9:.1f} GB available): use fewer --workers"
    try:
        load = os.getloadavg()[0]
    except OSError:  # a system that does not count it
        return ""
    if load > max(busy_cores, cores() * BUSY_LOAD):
        return f"other programs use the CPU (load {load:.1f} on {cores()} cores)"
    return ""


def _memory() -> dict[str, int]:
    """Linux's memory figures in bytes; empty on other systems."""
    lines = (line.split() for line in _read(Path("/proc/meminfo")).splitlines())
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if len(words) == 3}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
