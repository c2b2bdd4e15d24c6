"""Items in another process: the call that carries them, the worker's side of it, and how it reports progress."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from genrobust.core import GenrobustError, counting, is_out_of_memory, one_line, worker_environment
from genrobust.study.executors.work import MakeItems

REPORT_EVERY_S = 0.2  # progress
PATIENCE_S = 7 * 24 * 3600  # processes that train together wait for each other, even during a long validation
VISIBLE = "CUDA_VISIBLE_DEVICES"
# For processes that train together: Gloo and NCCL would listen on the network, and DDP would warn of
# `find_unused_parameters`, which `Team.wrap_ddp` needs.
LOOPBACK = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
TOGETHER = {"TORCH_CPP_LOG_LEVEL": "ERROR"}
TOGETHER |= {"GLOO_SOCKET_IFNAME": LOOPBACK, "NCCL_SOCKET_IFNAME": LOOPBACK} if LOOPBACK else {}


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
    """Items for another process, or for several that make them together.

    Attributes:
        load: Pickled, the function that returns what makes items.
        number: The number by which `channel` knows the call.
        folder: The folder that paths are relative to, on nodes that have it.
        processes: How many processes make the items together.
    """

    load: bytes
    unit: str
    keys: tuple[Any, ...]
    number: int
    channel: Channel
    threads: int
    folder: str
    processes: int = 1


Result = float | Exception  # the seconds of a call without loading, or why it failed


def run_call(call: Call) -> Result:
    """Make the items of a call in this process, or in processes that it starts."""
    try:
        with suppress(OSError):
            os.chdir(call.folder)
        os.environ.update(worker_environment(call.threads))
        return _run_here(call) if call.processes == 1 else _run_together(call)
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


def _run_here(call: Call, reports: bool = True) -> float:
    """Make the items of `call` in this process; returns the seconds without loading."""
    done = found = 0
    reported_at = 0.0

    def count(more: int, note: str | None, reused: bool) -> None:
        nonlocal done, found, reported_at
        done += more
        found += more if reused else 0
        if reports and time.monotonic() - reported_at > REPORT_EVERY_S:
            call.channel.send(call.number, done, found)
            reported_at = time.monotonic()

    make = _loaded(call.load)
    began = time.monotonic()
    with counting(call.unit, count):
        make(call.keys)
    return time.monotonic() - began


def _run_together(call: Call) -> float:
    """Run `call` in processes that torch starts. All end as soon as one fails.

    Raises:
        WorkerDied: One of them died, or failed because another one died.
    """
    from torch.multiprocessing import ProcessExitedException, ProcessRaisedException, spawn

    # It would log each process that it ends.
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(call.processes)]
    senders = [sender for _, sender in pipes]
    died: Exception | None = None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # The channel of Ray works in this process only.
        of_ranks = replace(call, channel=Files(Path(folder)))
        group = spawn(_run_rank, (of_ranks, folder, senders), call.processes, join=False)
        try:
            while not group.join(REPORT_EVERY_S):
                for number, done, found in of_ranks.channel.receive({call.number}):
                    call.channel.send(number, done, found)
        except (ProcessExitedException, ProcessRaisedException) as error:
            died = error
    results: list[Result] = []
    for receiver, sender in pipes:
        sender.close()
        with suppress(EOFError):
            results.append(receiver.recv())
    if died is None:
        return max(result for result in results if isinstance(result, float))
    errors = [result for result in results if isinstance(result, Exception)]
    for cause in errors:
        if isinstance(cause, GenrobustError) or is_out_of_memory(cause):
            raise cause
    raise WorkerDied(f"one of its processes died: {one_line([*errors, died][0])}") from died


def _run_rank(rank: int, call: Call, folder: str, results: Sequence[Connection]) -> None:
    """Run `call` as one of its processes, with one of the GPUs that all of them see."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    end_with(parent.sentinel)
    os.environ.update(TOGETHER)
    gpus = os.environ.get(VISIBLE)
    if gpus:
        os.environ[VISIBLE] = gpus.split(",")[rank]
    from torch import cuda, distributed

    try:
        # NCCL runs on Linux only. Gloo averages on GPUs, too, but slowly.
        backend = "nccl" if gpus and sys.platform == "linux" and cuda.is_available() else "gloo"
        patience = timedelta(seconds=PATIENCE_S)
        distributed.init_process_group(backend, f"file://{folder}/meeting", patience, call.processes, rank)
        results[rank].send(_run_here(call, reports=rank == 0))
        # Not after a failure: it would wait for the others.
        distributed.destroy_process_group()
    except Exception as error:
        results[rank].send(portable(error))
        raise


def end_with(other: Connection | int) -> None:
    """End this process as soon as `other`, a connection or the handle of a process, closes at its other end."""

    def watch() -> None:
        wait([other])
        os._exit(1)

    threading.Thread(target=watch, name="end", daemon=True).start()
