"""A worker process of this machine: it is started here, ends with the command, and does one job after another."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from tqdm import tqdm

from genrobust.core import GenrobustError, counting
from genrobust.study.executors.pool import PATIENCE_S, Counted, failure_of
from genrobust.study.jobs import DoJobs


class Place(NamedTuple):
    """A worker's place among `size` that do a job together, the first of rank 0.

    They meet in the file `meeting`, and talk over a `backend` of torch.distributed.
    """

    rank: int
    size: int
    meeting: str
    backend: str


class WorkerProcess:
    """A worker of a `WorkerPool` that is a process here: an executor of its own, since a death breaks a whole one.

    Set its `task` before its first job: what it loads, pickled, and the unit that it counts.
    """

    task: tuple[bytes, str]

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._spawning = multiprocessing.get_context("spawn")  # a fork would take torch's threads along, locked
        self._variables = variables
        self._pool: ProcessPoolExecutor | None = None

    @property
    def is_up(self) -> bool:
        """Whether there is a process, which takes memory."""
        return self._pool is not None

    def submit(self, keys: Sequence[Any], place: Place | None = None) -> Future[GenrobustError | None]:
        """Let it do the jobs of `keys`, with others if it has a `place` among them."""
        theirs = None
        if self._pool is None:
            # The worker ends when its end of this pipe does, which is this process's end too, however it ends.
            theirs, alive = self._spawning.Pipe(duplex=False)
            self._counter = self._spawning.Array("q", 3, lock=False)
            begin = theirs, self._counter
            with _environment(self._variables):  # with the first pool, Python starts a process of its own
                self._pool = ProcessPoolExecutor(1, self._spawning, _begin, begin)
            # Not left to the end of Python, where a pool whose worker has just ended prints a traceback.
            self._end, self._alive = weakref.finalize(self, _end, alive, self._pool), alive
        self._counter[:2] = 0, 0
        try:
            with _without_interrupts(), _environment(self._variables):
                future = self._pool.submit(_do, *self.task, keys, place)
        except BrokenProcessPool as error:  # it died while it had no job
            future = Future()
            future.set_exception(error)
        if theirs is not None:
            theirs.close()  # the worker has started, with a copy of its own
        return future

    def why_died(self, error: Exception) -> str:
        """Return, in a few words, why its future raised `error`."""
        if not self._counter[2]:
            return "its worker process ended while it started: the lines above say why, or memory ran out"
        return "its worker process died: where memory ran out, use fewer --workers, or lower batch_size"

    def count(self) -> Counted:
        """Return how much of its jobs is done."""
        return Counted(*self._counter[:2])

    def request_stop(self) -> None:
        """End the process without waiting for it; call `stop` afterwards."""
        if self._pool is not None:
            self._alive.close()

    def stop(self) -> None:
        """End the process at once, and wait until it has; the next job starts another."""
        if self._pool is not None:
            self._end()
            self._pool = None


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let processes that start in the block hear nothing of Ctrl-C until they are ready for it, as this one does."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Let processes that start in the block find `variables` from their first line on, and no module in this folder.

    What a user's script imports at its top, which a worker does again, may ask CUDA for its GPUs: later is too late.
    In a notebook this process imports from the current folder, and its workers would take that over.
    """
    before, path = {name: os.environ.get(name) for name in variables}, sys.path
    os.environ.update(variables)
    sys.path = [folder for folder in path if folder]
    try:
        yield
    finally:
        sys.path = path
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end(alive: Connection, pool: ProcessPoolExecutor) -> None:
    alive.close()
    pool.shutdown(cancel_futures=True)


# In a worker:

_counter: Any = None  # how far it is, as Counted, and whether it has begun, in memory that it shares with the command
_last: tuple[bytes, DoJobs] | None = None  # what was loaded, and from which bytes


def _begin(alive: Connection, counter: Any) -> None:
    """Prepare this process for work; it ends as soon as the other end of `alive` does."""
    global _counter
    _counter = counter
    _counter[2] = 1
    # Its own lock is a semaphore, which a worker that ends at once would leave behind, with a warning.
    tqdm.set_lock(threading.RLock())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command hears of Ctrl-C too, and ends its workers
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with, args=(alive,), name="end", daemon=True).start()


def _end_with(alive: Connection) -> None:
    alive.poll(None)
    os._exit(1)


def _do(load: bytes, unit: str, keys: Sequence[Any], place: Place | None) -> GenrobustError | None:
    def count(more: int, note: str | None, found: bool) -> None:
        _counter[1] += more if found else 0  # first: who looks in between takes none of them for made
        _counter[0] += more

    try:
        with counting(unit, count), nullcontext() if place is None else _together(place):
            _loaded(load)(keys)
    except Exception as error:
        return failure_of(error)
    return None


def _loaded(load: bytes) -> DoJobs:
    global _last
    if _last is None or _last[0] != load:
        _last = None
        gc.collect()  # before the next is loaded: a GPU rarely has room for both
        # No file is unpickled: these bytes are the command's own, from its memory.
        loads: Callable[[], DoJobs] = pickle.loads(load)
        _last = load, loads()
    return _last[1]


@contextmanager
def _together(place: Place) -> Iterator[None]:
    """Connect this process with the others of its group, for the block."""
    from torch import distributed

    patience = timedelta(seconds=PATIENCE_S)
    store = distributed.FileStore(place.meeting, place.size)
    store.set_timeout(patience)  # NCCL meets at its first sum, for which the first may pack images for long
    how: dict[str, Any] = {"rank": place.rank, "world_size": place.size, "timeout": patience}
    distributed.init_process_group(place.backend, store=store, **how)
    yield
    distributed.destroy_process_group()  # not after a failure: it waits for the others, and this process is stopped
