"""Work in processes of this machine: as many as its cores, its memory or its GPUs allow, each with its own threads."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import re
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import takewhile
from multiprocessing.connection import Connection
from typing import Any

from tqdm import tqdm

from genrobust.core import (
    GenrobustError,
    UserError,
    cores,
    counting,
    device_kind,
    free_memory,
    progress_bar,
    worker_environment,
)
from genrobust.recipe import Recipe
from genrobust.study.executors.local import Local
from genrobust.study.executors.pool import Counted, WorkerPool, failure_of
from genrobust.study.jobs import DoJobs, Job, Work

WORKER_BYTES = 2_000_000_000  # of a worker with the libraries, a small network and its images: 1.3 to 1.8 GB measured
WORKERS = "GENROBUST_WORKERS"


class Processes(Local):
    """Worker processes for `recipe`: `count` of them, or the number in the environment variable GENROBUST_WORKERS.

    By default there are as many as this machine has room for: on CPUs cores / `recipe.threads`, or fewer if memory
    is short; on CUDA one per GPU. Workers start with the first work that has jobs for more than one, and stay
    until this process ends. A job whose worker dies or runs out of memory is tried again in a new one; workers die
    with this process, and with `close`. The number of workers does not change a byte of the output.

    Python starts a worker by importing the program's main module again: a script that uses this class keeps its work
    under ``if __name__ == "__main__":``.
    """

    def __init__(self, recipe: Recipe, count: int | None = None) -> None:
        self._workers: list[_Process] = []
        self._threads, self._gpus = recipe.threads, _gpus(recipe.device)
        count = _asked() if count is None else count
        self._asked = count is not None
        self._count = self._room() if count is None else count

    def workers(self) -> int:
        """Return how many processes work at the same time."""
        return self._count

    def run(self, work: Work) -> None:
        """Do all of `work`, in this process where there is one job or one worker.

        A job is tried again where its worker died or ran out of memory.

        Raises:
            UserError, GenrobustError: A worker failed; the first failure is raised at once. What the others had started
                resumes in a later run.
        """
        count = min(self._count, len(work.jobs), self._fitting(work.memory))
        kept = count if count > 1 else 0 if self._gpus and not work.alone else len(self._workers)
        for worker in self._workers[kept:]:  # they hold what they loaded for other work, and take no part in this
            worker.stop()
        if count <= 1 or work.alone:
            super().run(work)
            if self._gpus and work.jobs:
                _free_gpu()  # which a worker needs for what comes next
            return
        self.require(max(job.workers for job in work.jobs))
        while len(self._workers) < count:
            variables = worker_environment(self._threads)
            if self._gpus:
                variables["CUDA_VISIBLE_DEVICES"] = self._gpus[len(self._workers) % len(self._gpus)]
            self._workers.append(_Process(variables))
        task = pickle.dumps(work.load), work.unit
        for worker in self._workers:
            worker.task = task
        with progress_bar(work.what, work.size, work.unit, seconds=work.seconds) as bar:
            pool = WorkerPool(work.what, bar, on_cluster=False)
            jobs = _shares(work.jobs, count if work.together else len(work.jobs))
            pool.run(jobs, iter(self._workers).__next__, lambda: count)
        pool.report()

    def close(self) -> None:
        """End all workers at once, in the middle of what they do: all of it survives that."""
        for worker in self._workers:
            worker.stop()

    def _room(self) -> int:
        if self._gpus:
            return len(self._gpus)
        if self._gpus is None:
            return 1  # an Apple GPU, or one GPU by its number
        return min(max(1, cores() // self._threads), self._fitting(0))

    def _fitting(self, more: int) -> int:
        """How many workers the memory has room for that take so many bytes `more` than a usual one."""
        memory = free_memory()
        if memory is None or self._asked:  # the user knows
            return sys.maxsize
        memory += sum(worker.is_up for worker in self._workers) * WORKER_BYTES
        return max(1, memory // (WORKER_BYTES + more))


def _free_gpu() -> None:
    """Give back the memory of the GPU that this process has used."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()


class _Process:
    """A worker of a `WorkerPool` that is a process here: an executor of its own, since a death breaks a whole one."""

    task: tuple[bytes, str]  # what to load, and the unit to count

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._spawning = multiprocessing.get_context("spawn")  # a fork would take torch's threads along, locked
        self._variables = variables
        self._pool: ProcessPoolExecutor | None = None

    @property
    def is_up(self) -> bool:
        return self._pool is not None

    def submit(self, keys: Sequence[Any]) -> Future[GenrobustError | None]:
        theirs = None
        if self._pool is None:
            # The worker ends when its end of this pipe does, which is this process's end too, however it ends.
            theirs, alive = self._spawning.Pipe(duplex=False)
            self._counter = self._spawning.Array("q", 2, lock=False)
            begin = theirs, self._counter
            self._pool = ProcessPoolExecutor(1, self._spawning, _begin, begin)
            # Not left to the end of Python, where a pool whose worker has just ended prints a traceback.
            self._end = weakref.finalize(self, _end, alive, self._pool)
        self._counter[:] = 0, 0
        try:
            with _without_interrupts(), _environment(self._variables):
                future = self._pool.submit(_do, *self.task, keys)
        except BrokenProcessPool as error:  # it died while it had no job
            future = Future()
            future.set_exception(error)
        if theirs is not None:
            theirs.close()  # the worker has started, with a copy of its own
        return future

    def why_died(self, error: Exception) -> str:
        return "its worker process died: where memory ran out, use fewer --workers, or lower batch_size"

    def count(self) -> Counted:
        return Counted(*self._counter)

    def stop(self) -> None:
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
    """Let processes that start in the block find `variables` from their first line on.

    What a user's script imports at its top, which a worker does again, may ask CUDA for its GPUs: later is too late.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end(alive: Connection, pool: ProcessPoolExecutor) -> None:
    alive.close()
    pool.shutdown(cancel_futures=True)


def _asked() -> int | None:
    """Return how many workers the environment asks for; raises UserError where that is no number of them."""
    text = os.environ.get(WORKERS)
    if not text:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise UserError(f"{WORKERS}={text[:20]}: give a number of worker processes, from 1 to 9999")
    return int(text)


def _gpus(device: str) -> list[str] | None:
    """Return the GPUs that workers share out, as CUDA names them: none on a CPU, None if all work is for one GPU."""
    kind = device_kind(device)
    if kind == "cpu":
        return []
    if kind != "cuda" or ":" in device:
        return None
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not named:
        return [str(index) for index in range(torch.cuda.device_count())]
    # as CUDA, which ends the list at the first that it does not find
    gpus = takewhile(lambda gpu: not gpu.startswith("-"), (gpu.strip() for gpu in named.split(",")))
    return list(gpus)[: torch.cuda.device_count()]


def _shares(jobs: Sequence[Job], count: int) -> list[Job]:
    """Deal the jobs out to `count` groups, in their order: each a job whose key lists theirs."""
    groups = [jobs[number::count] for number in range(count)]
    names = [group[0].name if len(group) == 1 else f"{group[0].name} and {len(group) - 1} more" for group in groups]
    return [
        Job([job.key for job in group], name, sum(job.size for job in group))
        for name, group in zip(names, groups, strict=True)
    ]


# In a worker:

_counter: Any = None  # how far it is, as Counted, in memory that it shares with the command
_last: tuple[bytes, DoJobs] | None = None  # what was loaded, and from which bytes


def _begin(alive: Connection, counter: Any) -> None:
    """Prepare this process for work; it ends as soon as the other end of `alive` does."""
    global _counter
    _counter = counter
    # Its own lock is a semaphore, which a worker that ends at once would leave behind, with a warning.
    tqdm.set_lock(threading.RLock())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command hears of Ctrl-C too, and ends its workers
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with, args=(alive,), name="end", daemon=True).start()


def _end_with(alive: Connection) -> None:
    alive.poll(None)
    os._exit(1)


def _do(load: bytes, unit: str, keys: Sequence[Any]) -> GenrobustError | None:
    def count(more: int, note: str | None, found: bool) -> None:
        _counter[1] += more if found else 0  # first: who looks in between takes none of them for made
        _counter[0] += more

    try:
        with counting(unit, count):
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
