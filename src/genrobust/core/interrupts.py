"""Signals that end the program: Ctrl-C, and SIGTERM and SIGHUP in the same way."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from types import FrameType

_received: list[int] = []


def raise_at_signals() -> None:
    """Raise KeyboardInterrupt at SIGTERM and SIGHUP, as at Ctrl-C; what the caller ignores, such as nohup, stays so."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)


def is_interrupted() -> bool:
    """Return whether a signal came: an import that it breaks off may raise another error than KeyboardInterrupt."""
    return bool(_received)


def report_interrupt() -> int:
    """Print that finished work is kept, and return the exit code that a shell expects: 130 after Ctrl-C."""
    with suppress(OSError):  # the terminal is closed
        print("\ninterrupted: finished work is kept; run the same command again to resume", file=sys.stderr, flush=True)
    return 128 + next(iter(_received), signal.SIGINT)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if number != signal.SIGINT and number in _received:
        return  # timeout sends its signal to the process and to its group, and the first one is at work
    _received.append(number)
    raise KeyboardInterrupt
