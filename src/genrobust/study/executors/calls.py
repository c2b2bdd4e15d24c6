"""Items in another process: the call that carries them, the worker's side of it, and how it reports progress."""

from __future__ import annotations

import os
import pickle
import time
import traceback
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from genrobust.core import GenrobustError, counting, worker_environment
from genrobust.study.executors.work import MakeItems

REPORT_EVERY_S = 0.2  # progress


class WorkerDied(GenrobustError):
    """A worker ended without a result: it was killed, or its node died."""


class Channel(Protocol):
    """The way by which calls report their progress to the command. It is pickled with them."""

    def send(self, number: int, done: int, found: int) -> None:
        """Report that a call has `done` so many items, and `found` so many of them made by an earlier run."""

    def receive(self, running: Container[int]) -> Iterable[tuple[int, int, int]]:
        """Return the number, done and found of the calls among `running` that reported."""


@dataclass(frozen=True)
class Files(Channel):
    """A channel of one file per call, in a shared folder."""

    folder: Path

    def send(self, number: int, done: int, found: int) -> None:
        (self.folder / str(number)).write_text(f"{done} {found}")

    def receive(self, running: Container[int]) -> Iterator[tuple[int, int, int]]:
        for file in self.folder.iterdir():
            # A file may be incomplete while it is written.
            with suppress(OSError, ValueError):
                number = int(file.name)
                if number in running:
                    done, found = map(int, file.read_text().split())
                    yield number, done, found


@dataclass(frozen=True)
class Call:
    """Items for another process.

    Attributes:
        load: Pickled, the function that returns what makes items.
        number: The number by which `channel` knows the call.
        folder: The folder that paths are relative to, on nodes that have it.
    """

    load: bytes
    unit: str
    keys: tuple[Any, ...]
    number: int
    channel: Channel
    threads: int
    folder: str


# The seconds of a call without loading, or the error that ended it.
Result = float | Exception


def run_call(call: Call) -> Result:
    """Make the items of a call in this process, and return its result."""
    try:
        with suppress(OSError):
            os.chdir(call.folder)
        os.environ.update(worker_environment(call.threads))
        return _make_items(call)
    except Exception as error:
        return portable(error)


def portable(error: Exception) -> Exception:
    """Return `error` with its traceback as a note, or a replacement if it cannot be pickled."""
    error.add_note("in another process:\n" + "".join(traceback.format_exception(error)))
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = GenrobustError(f"unexpected {type(error).__name__}: {error}")
        copy.add_note(error.__notes__[-1])
    return copy


@lru_cache(maxsize=1)
def _loaded(load: bytes) -> MakeItems:
    """Call the pickled `load`, and keep its result in this process for the next call.

    No file is unpickled: these bytes come from the memory of the command.
    """
    make: MakeItems = pickle.loads(load)()
    return make


def _make_items(call: Call) -> float:
    """Make the items of `call`, report progress, and return the seconds without loading."""
    done = found = 0
    reported_at = 0.0

    def count(more: int, note: str | None, reused: bool) -> None:
        nonlocal done, found, reported_at
        done += more
        found += more if reused else 0
        if time.monotonic() - reported_at > REPORT_EVERY_S:
            call.channel.send(call.number, done, found)
            reported_at = time.monotonic()

    make = _loaded(call.load)
    began = time.monotonic()
    with counting(call.unit, count):
        make(call.keys)
    return time.monotonic() - began
