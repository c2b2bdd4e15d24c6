"""Cores and free memory of this machine. Loads no torch."""

from __future__ import annotations

import os
from pathlib import Path

# Files with the limits of a container or a batch job.
CGROUP, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# Pairs of a limit and the memory in use, of control groups version 2 and 1.
MEMORY_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))


def cores() -> int:
    """Return the number of CPU cores that this process may use, by affinity and container quota. At least 1."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    for group in _control_groups("cpu"):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if not quota:
            quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        if quota.strip().isdigit() and period.strip().isdigit():
            allowed = min(allowed, int(quota) // int(period))
    return max(1, allowed)


def free_memory() -> int | None:
    """Return the memory in bytes that is free without swapping. None on a system that does not report it."""
    limits = []
    available_kib = _counts(Path("/proc/meminfo")).get("MemAvailable:")
    if available_kib is not None:
        limits.append(1024 * available_kib)
    for group in _control_groups("memory"):
        for limit_file, used_file in MEMORY_FILES:
            limit = _read(group / limit_file).strip()
            used = _read(group / used_file).strip()
            if limit.isdigit() and used.isdigit():
                limits.append(int(limit) - int(used) + _file_cache(group))
    return min(limits, default=None)


def _file_cache(group: Path) -> int:
    """Return the memory in bytes in which a control group caches files. It is free when it is needed."""
    counts = _counts(group / "memory.stat")
    return sum(counts.get(f"total_{name}", counts.get(name, 0)) for name in ("active_file", "inactive_file"))


def _control_groups(controller: str) -> list[Path]:
    """Return the folders of this process's control groups: of version 2, and of a `controller` of version 1."""
    folders = [CGROUP]
    for line in _read(OWN).splitlines():
        names, _, path = line.partition(":")[2].partition(":")
        if not names or controller in names.split(","):
            root = CGROUP / controller if names else CGROUP
            below = [part for part in path.split("/") if part]
            folders += [root.joinpath(*below[:depth]) for depth in range(len(below) + 1)]
    return list(dict.fromkeys(folders))


def user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genrobust"


def _counts(path: Path) -> dict[str, int]:
    """Read lines of a word and a number from a file of Linux."""
    counts: dict[str, int] = {}
    for line in _read(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isdigit():
            counts[words[0]] = int(words[1])
    return counts


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
