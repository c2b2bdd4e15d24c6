"""Work in processes of this machine: as many as its cores, its memory or its GPUs allow, each with its own threads."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any

from tqdm import tqdm

from genrobust.core import (
    Bar,
    UserError,
    cores,
    counting,
    device_kind,
    free_memory,
    mirrors,
    outlast_the_dead,
    progress_bar,
    worker_environment,
)
from genrobust.recipe import Recipe
from genrobust.study.executors.ledger import Ledger, Outcome, Task, outcome_of
from genrobust.study.executors.local import Local, require_one
from genrobust.study.jobs import DoJobs, Job, Work

LOOK_EVERY_S = 0.5  # at the workers' progress
WORKER_BYTES = 2_000_000_000  # of a worker with the libraries, a small network and its images: 1.3 to 1.8 GB measured
WORKERS = "GENROBUST_WORKERS"
HERE = "this machine"  # the one node of the ledger
_DIED = "its worker process died: where memory ran out, use fewer --workers, or lower batch_size"


class Processes:
    """Worker processes for `recipe`: `count` of them, or as the environment variable GENROBUST_WORKERS says.

    Without either there are as many as this machine has room for: on CPUs cores / `recipe.threads`, fewer where memory
    does not suffice; on CUDA one a GPU. Workers start with the first work that has jobs for more than one, and stay
    until this process ends. A job whose worker dies or runs out of memory is tried again in a new one; workers die
    with this process, and with `close`. The bytes that jobs make do not depend on the number of workers.

    Python starts a worker by importing the program's main module anew: a script that uses this class keeps its work
    under ``if __name__ == "__main__":``.
    """

    here = True

    def __init__(self, recipe: Recipe, count: int | None = None) -> None:
        self._slots: list[_Slot] = []
        self._threads, self._gpus = recipe.threads, _gpus(recipe.device)
        count = _asked() if count is None else count
        self._asked = count is not None
        self._count = self._room() if count is None else count
        self._alone = Local()

    def placed(self, recipe: Recipe, say: Callable[[str], None] = lambda line: None) -> Recipe:
        """Return `recipe` with the precisions of this machine; raises UserError where it has no such device."""
        return self._alone.placed(recipe, say)

    def require(self, workers: int) -> None:
        """Raise UserError for more than one of `workers` on one job: only Ray starts those."""
        require_one(workers)

    def workers(self) -> int:
        """How many processes work at the same time."""
        return self._count

    def run(self, work: Work) -> None:
        """Do all of `work`, in this process where there is one job or one worker.

        A job is tried again where its worker died or ran out of memory. Raises the first UserError or GenrobustError
        of a worker at once; what the others were in the middle of is then given up, and goes on in a later run.
        """
        count = min(self._count, len(work.jobs), self._fitting(work.memory))
        if count <= 1:
            self._alone.run(work)
            return
        require_one(max(job.workers for job in work.jobs))
        jobs = _shares(work.jobs, count if work.together else len(work.jobs))
        while len(self._slots) < count:
            variables = worker_environment(self._threads)
            if self._gpus:
                variables["CUDA_VISIBLE_DEVICES"] = self._gpus[len(self._slots) % len(self._gpus)]
            self._slots.append(_Slot(variables))
        ledger, load = Ledger(work.what, jobs, count), pickle.dumps(work.load)
        try:
            with progress_bar(work.what, work.size, work.unit, seconds=work.seconds) as bar:
                _Shift(self._slots[:count], ledger, load, work.unit, bar).work()
        except BaseException:
            self.close()
            raise
        ledger.close()

    def close(self) -> None:
        """End all workers at once, in the middle of what they do: all of it survives that."""
        for slot in self._slots:
            slot.stop()
        self._slots.clear()

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
        memory += len(self._slots) * WORKER_BYTES  # those that are up already
        return max(1, memory // (WORKER_BYTES + more))


class _Slot:
    """A worker process: started at its first job, and again at the first after it died."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._spawning = multiprocessing.get_context("spawn")  # a fork would take torch's threads along, locked
        self._variables = variables
        self._pool: ProcessPoolExecutor | None = None
        self._counter: Any = None

    def submit(self, load: bytes, unit: str, keys: Sequence[Any]) -> Future[Outcome]:
        """Let the worker do the jobs of `keys`, with what `load` loads; it counts what it makes of `unit`."""
        if self._pool is None:
            # The worker ends when its end of this pipe does, which is this process's end too, however it ends.
            theirs, self._alive = self._spawning.Pipe(duplex=False)
            self._counter = self._spawning.Value("q", 0, lock=False)
            begin = theirs, self._counter, self._variables
            self._pool = ProcessPoolExecutor(1, self._spawning, _begin, begin)
            future = self._pool.submit(_do, load, unit, keys, mirrors())
            theirs.close()  # the worker has started, with a copy of its own
            return future
        self._counter.value = 0
        return self._pool.submit(_do, load, unit, keys, mirrors())

    @property
    def counted(self) -> int:
        """How far the worker is with the last job."""
        return int(self._counter.value)

    def stop(self) -> None:
        """End the worker, if it has not ended."""
        if self._pool is not None:
            self._alive.close()
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


class _Shift:
    """The slots that do what waits in a ledger, and the bar that shows it."""

    def __init__(self, slots: Sequence[_Slot], ledger: Ledger, load: bytes, unit: str, bar: Bar) -> None:
        self._idle, self._ledger, self._load, self._unit, self._bar = list(slots), ledger, load, unit, bar
        self._busy: dict[Future[Outcome], tuple[_Slot, Task]] = {}
        self._made = self._shown = 0  # by jobs that are done; and what the bar shows of all

    def work(self) -> None:
        """Until every job is done; raises the first failure that is not its worker's."""
        while self._ledger.waiting or self._busy:
            while self._idle and (task := self._ledger.next_for(HERE, [HERE])):
                slot = self._idle.pop()
                self._busy[slot.submit(self._load, self._unit, task.job.key)] = slot, task
            for future in wait(self._busy, LOOK_EVERY_S, FIRST_COMPLETED)[0]:
                self._ended(future)
            made = self._made + sum(min(slot.counted, task.job.size) for slot, task in self._busy.values())
            self._bar.advance(made - self._shown)
            self._shown = made

    def _ended(self, future: Future[Outcome]) -> None:
        slot, task = self._busy.pop(future)
        self._idle.append(slot)
        try:
            outcome = future.result()
        except BrokenProcessPool:
            slot.stop()
            outcome = Outcome(_DIED, trace="the process ended without a word")
        else:
            if outcome.error:
                slot.stop()  # it may hold memory that it does not give back
                if not outcome.again:
                    raise outcome.raised()
        if not outcome.error:
            self._made += task.job.size
        self._ledger.tried(task, HERE, outcome)


def _asked() -> int | None:
    """How many workers the environment asks for; raises UserError where that is no number of them."""
    text = os.environ.get(WORKERS)
    if not text:
        return None
    if not (text.isdecimal() and int(text)):
        raise UserError(f"{WORKERS}={text}: give a whole number of worker processes, 1 or more")
    return int(text)


def _gpus(device: str) -> list[str] | None:
    """The GPUs that workers share out, as CUDA names them: none on a CPU, None where all work is for one GPU."""
    kind = device_kind(device)
    if kind == "cpu":
        return []
    if kind != "cuda" or ":" in device:
        return None
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]


def _shares(jobs: Sequence[Job], count: int) -> list[Job]:
    """The jobs dealt out to `count` groups, in their order: each a job whose key lists theirs."""
    groups = [jobs[number::count] for number in range(count)]
    names = [group[0].name if len(group) == 1 else f"{group[0].name} and {len(group) - 1} more" for group in groups]
    return [
        Job([job.key for job in group], name, sum(job.size for job in group))
        for name, group in zip(names, groups, strict=True)
    ]


# ------------------------------------------------------------------------------------------- in a worker

_counter: Any = None  # in a worker: how far it is, in memory that it shares with the command


def _begin(alive: Connection, counter: Any, variables: Mapping[str, str]) -> None:
    """Prepare this process for work; it ends as soon as the other end of `alive` does."""
    global _counter
    _counter = counter
    os.environ.update(variables)
    # Its own lock is a semaphore, which a worker that ends at once would leave behind, with a warning.
    tqdm.set_lock(threading.RLock())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command hears of Ctrl-C too, and ends its workers
    threading.Thread(target=_end_with, args=(alive,), name="end", daemon=True).start()


def _end_with(alive: Connection) -> None:
    alive.poll(None)
    os._exit(1)


def _do(load: bytes, unit: str, keys: Sequence[Any], anywhere: bool) -> Outcome:
    """Do the jobs of `keys`; `anywhere`: what is made goes to a URL, where a dead worker may have left its lease."""
    if anywhere:
        outlast_the_dead()
    try:
        do = _loaded(load)
        with counting(unit, _count):
            do(keys)
    except Exception as error:
        return outcome_of(error)
    return Outcome()


@lru_cache(maxsize=1)
def _loaded(load: bytes) -> DoJobs:
    # No file is unpickled: these bytes are the command's own, from its memory.
    loads: Callable[[], DoJobs] = pickle.loads(load)
    return loads()


def _count(count: int, note: str | None) -> None:
    _counter.value += count
