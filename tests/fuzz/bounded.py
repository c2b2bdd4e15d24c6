"""What a fuzz target may use: bounds on work and memory that do not depend on the speed of the machine."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

CALLS = 3_000_000  # of functions; reading a file of some kB takes fewer than 100,000
BYTES = 200_000_000  # at the peak; such a file takes a thousandth


class TooMuch(BaseException):
    """More calls than `CALLS`, which no `except Exception` catches."""


@contextmanager
def bounded() -> Iterator[None]:
    """Fails where the block calls more than `CALLS` functions or holds more than `BYTES`."""
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")
        if calls > CALLS:
            sys.setprofile(None)
            raise TooMuch(f"more than {CALLS:,} calls")

    tracemalloc.start()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < BYTES, f"{peak / 1e6:.0f} MB at the peak"
