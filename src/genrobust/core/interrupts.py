"""Signals that end the program: Ctrl-C, and SIGTERM and SIGHUP in the same way."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from types import FrameType

# The exit code after Ctrl-C, and typer's code after any KeyboardInterrupt.
INTERRUPTED = 128 + signal.SIGINT
_received: list[int] = []


def raise_at_signals() -> None:
    """Raise KeyboardInterrupt at SIGTERM and SIGHUP, as at Ctrl-C. Signals that the caller ignores stay ignored."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        # Windows has no SIGHUP.
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, interrupt)


def is_interrupted() -> bool:
    """Return whether a signal came. An interrupted import may raise other errors than KeyboardInterrupt."""
    return bool(_received)


def report_interrupt() -> int:
    """Print that finished work is kept, and return the exit code that a shell expects: 128 and the signal's number."""
    # The terminal may be closed.
    with suppress(OSError):
        print("\ninterrupted: finished work is kept; run the same command again to resume", file=sys.stderr, flush=True)
    # If the signal came within an exec, such as that of a dataclass, CPython would end without an exit code.
    exec("")
    return 128 + _received[0] if _received else INTERRUPTED


def interrupt(number: int, frame: FrameType | None = None) -> None:
    """Raise KeyboardInterrupt for a signal, unless it came before."""
    # The command timeout sends its signal to the process and to its group.
    if number != signal.SIGINT and number in _received:
        return
    _received.append(number)
    raise KeyboardInterrupt
