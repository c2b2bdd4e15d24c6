"""What a fuzz target may use: bounds on work and memory that do not depend on the speed of the machine."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

CALLS = 3_000_000  # of functions; reading a file of some kB takes fewer than 100,000
BYTES = 2_000_000_000  # beyond what the process has; threads reserve some, such a file takes a thousandth
PAGES = Path("/proc/self/statm")  # of Linux; elsewhere memory is not bounded


class TooMuch(BaseException):
    """More calls than `CALLS`, which no ``except Exception`` catches."""


@contextmanager
def bounded() -> Iterator[None]:
    """Raises TooMuch where the block calls more than `CALLS` functions, MemoryError where it takes `BYTES` more."""
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")
        if calls > CALLS:
            sys.setprofile(None)
            raise TooMuch(f"more than {CALLS:,} calls")

    before, (soft, hard) = sys.getprofile(), resource.getrlimit(resource.RLIMIT_AS)
    if PAGES.exists():
        most = int(PAGES.read_text().split()[0]) * resource.getpagesize() + BYTES
        limits = [limit for limit in (most, soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
