"""Cores and free memory of this machine. Loads no torch."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")  # the limits of a container or a batch job


def cores() -> int:
    """Number of CPU cores that this process may use, by its affinity and its container's quota; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _control_groups("cpu"):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if not quota:
            quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        if quota.strip().isdigit() and period.strip().isdigit():
            allowed = min(allowed, int(quota) // int(period))
    return max(1, allowed)


def free_memory() -> int | None:
    """Bytes of memory that are free without swapping; None on a system that does not report them."""
    available = _counts(Path("/proc/meminfo")).get("MemAvailable:")
    free = None if available is None else 1024 * available
    for group in _control_groups("memory"):
        for limit_in, used_in in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            limit, used = _read(group / limit_in).strip(), _read(group / used_in).strip()
            if limit.isdigit() and used.isdigit():
                counts = _counts(group / "memory.stat")
                cached = (counts.get(f"total_{n}", counts.get(n, 0)) for n in ("active_file", "inactive_file"))
                left = int(limit) - int(used) + sum(cached)  # what files are cached in is given back
                free = left if free is None else min(free, left)
    return free


def _control_groups(controller: str) -> list[Path]:
    """The folders of the control groups that this process is in, of version 2 and of a `controller` of version 1."""
    folders = [CGROUP]
    for line in _read(OWN).splitlines():
        names, _, path = line.partition(":")[2].partition(":")
        if not names or controller in names.split(","):
            root = CGROUP / controller if names else CGROUP
            below = [part for part in path.split("/") if part]
            folders += [root.joinpath(*below[:depth]) for depth in range(len(below) + 1)]
    return list(dict.fromkeys(folders))


def user_cache() -> Path:
    """The folder of genrobust in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genrobust"


def _counts(path: Path) -> dict[str, int]:
    """The numbers in a file of Linux, by the word before each."""
    lines = (line.split() for line in _read(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
