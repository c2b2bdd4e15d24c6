"""Signals that end the program: Ctrl-C, and SIGTERM and SIGHUP in the same way."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT  # the exit code after Ctrl-C, and typer's after any KeyboardInterrupt
_received: list[int] = []


def raise_at_signals() -> None:
    """Raise KeyboardInterrupt at SIGTERM and SIGHUP, as at Ctrl-C; what the caller ignores, such as nohup, stays so."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, interrupt)


def is_interrupted() -> bool:
    """Return whether a signal came: an import that it breaks off may raise another error than KeyboardInterrupt."""
    return bool(_received)


def report_interrupt() -> int:
    """Print that finished work is kept, and return the exit code that a shell expects: 128 and the signal's number."""
    with suppress(OSError):  # the terminal is closed
        print("\ninterrupted: finished work is kept; run the same command again to resume", file=sys.stderr, flush=True)
    exec("")  # else CPython ends by SIGINT, with no exit code, where the signal came within an exec, as of a dataclass
    return 128 + _received[0] if _received else INTERRUPTED


def interrupt(number: int, frame: FrameType | None = None) -> None:
    """Raise KeyboardInterrupt for the signal of this number, unless it came before and is at work."""
    if number != signal.SIGINT and number in _received:
        return  # timeout sends it to the process and to its group
    _received.append(number)
    raise KeyboardInterrupt
