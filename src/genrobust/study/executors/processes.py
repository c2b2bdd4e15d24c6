"""Work in processes of this machine: as many as its cores, its memory or its GPUs allow, each with its own threads."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import pickle
import re
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import takewhile
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tqdm import tqdm

from genrobust.core import (
    GenrobustError,
    UserError,
    cores,
    device_kind,
    free_memory,
    progress_bar,
    worker_environment,
)
from genrobust.recipe import Recipe
from genrobust.study.executors.doing import (
    LOOK_EVERY_S,
    TRIES,
    BadLuck,
    Member,
    Shown,
    do_jobs,
    failure_of,
    has_more_tries,
    raise_failed,
    read_counts,
    root_cause,
    set_threads,
    write_count,
)
from genrobust.study.executors.jobs import Job, Work
from genrobust.study.executors.local import Local

WORKER_BYTES = 2_000_000_000  # of a worker with the libraries, a small network and its images: 1.3 to 1.8 GB measured
WORKERS = "GENROBUST_WORKERS"
MIG = "MIG-"  # how names of instances of a partitioned GPU begin
LOOPBACK = {"linux": "lo", "darwin": "lo0"}
GRACE_S = 5.0  # after a failure, for those of the others: one of them may explain it, and the rest wait for ever
# What workers import. On Linux a server imports it once, and each worker is a fork of it; elsewhere forks of a process
# that has loaded torch are not safe, and each worker starts anew.
PRELOAD = ["genrobust.study.study", "genrobust.train.loop", "genrobust.classifiers.predicting"]
PRELOAD_TO_GENERATE = [
    "genrobust.generate.run",
    "genrobust.generate.loading",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",  # others are loaded by the worker that needs them
]
DIED = "process died: where memory ran out, use fewer --workers, or lower batch_size"
Failures = list[tuple[Job, GenrobustError]]
log = logging.getLogger(__name__)


class Processes(Local):
    """Worker processes for `recipe`: `count` of them, or the number in the environment variable GENROBUST_WORKERS.

    By default there are as many as this machine has room for: on CPUs cores / `recipe.threads`, or fewer if memory
    is short; on CUDA one per GPU. Workers start with each work that has jobs for more than one, and end with it, or
    with this process. A job whose worker dies or runs out of memory is tried again in a new one. The number of workers
    does not change a byte of the output. Jobs of several workers come last, one after another.

    Python starts a worker by importing the program's main module again: a script that uses this class keeps its work
    under ``if __name__ == "__main__":``.
    """

    def __init__(self, recipe: Recipe, count: int | None = None) -> None:
        self._threads, self._gpus = recipe.threads, _gpus(recipe.device)
        self._preload = [*PRELOAD, *(PRELOAD_TO_GENERATE if recipe.generator is not None else ())]
        count = _asked() if count is None else count
        self._asked = count is not None
        self._count = self._room() if count is None else count

    def workers(self) -> int:
        """Return how many processes work at the same time."""
        return self._count

    def require(self, workers: int) -> None:
        """Raise UserError where this machine has no room for so many `workers` that do a job together."""
        if workers == 1:
            return
        if self._gpus is None or any(gpu.startswith(MIG) for gpu in self._gpus):
            device = "the recipe's device is one" if self._gpus is None else "parts of one (MIG) cannot train together"
            raise UserError(
                f"train.workers: {workers} workers need a GPU each, and {device}: set device to cuda or cpu, or "
                "train.workers to 1"
            )
        room = min(self._count, len(self._gpus)) if self._gpus else self._count
        if workers > room:
            each = "a GPU" if self._gpus else f"threads: {self._threads}"
            more = "" if 0 < len(self._gpus) < workers else f" set --workers {workers} if this machine can do more,"
            raise UserError(
                f"train.workers: {workers} workers train one classifier together, and there is room for {room} here "
                f"({each} for each): lower train.workers,{more} or use a Ray cluster (--executor ray)"
            )

    def prepare(self) -> None:
        """Begin to load what workers need, beside what this process does meanwhile."""
        if self._count > 1 and sys.platform == "linux":
            multiprocessing.set_forkserver_preload(self._preload)
            for server in (resource_tracker, forkserver):  # each alone: the first one lets signals through again
                with _starting(self._environment(0)), _without_interrupts():
                    server.ensure_running()

    def run(self, work: Work) -> None:
        """Do all of `work`, in this process where there is one job or one worker.

        A job is tried again where its worker died or ran out of memory.

        Raises:
            UserError, GenrobustError: A job failed, which ends the work, or its workers died in all its tries, which
                is reported when the others are done. What had started resumes in a later run.
        """
        single = [job for job in work.jobs if job.workers == 1]
        several = [job for job in work.jobs if job.workers > 1]
        for job in several:
            self.require(job.workers)
        workers = min(self._count, len(single), self._fitting(work.memory))
        if work.alone or (workers <= 1 and not several):
            super().run(work)
            if self._gpus and work.jobs:
                _free_gpu()  # which a worker needs for what comes next
            return
        self.prepare()
        with (
            progress_bar(work.what, work.size, work.unit, seconds=work.seconds) as bar,
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        ):
            shown, files = Shown(bar, partial(read_counts, Path(folder))), Path(folder)
            failed: Failures = []
            if single:
                self._run_single(replace(work, jobs=single), workers, shown, files, failed)
            for job in several:
                self._run_together(work, job, shown, files, failed)
            raise_failed(work.what, failed)

    def _run_single(self, work: Work, workers: int, shown: Shown, files: Path, failed: Failures) -> None:
        """Hand the jobs of `work` out to so many workers."""
        load = pickle.dumps(work.load)
        waiting = deque((share, 1) for share in work.shares(workers))
        busy: dict[Future[float | GenrobustError], tuple[_Worker, tuple[Job, ...], int, int]] = {}
        with ExitStack() as stack:
            idle = [_Worker(self._environment(number)) for number in range(workers)]
            for worker in idle:
                stack.callback(worker.wait)
            for worker in idle:
                stack.callback(worker.end)  # first all of them: an interrupt may cut the waiting short
            while waiting or busy:
                while idle and waiting:
                    worker, (share, tries) = idle.pop(0), waiting.popleft()
                    number = shown.begin(sum(job.size for job in share))
                    future = worker.submit(load, work.unit, [job.key for job in share], files / str(number))
                    busy[future] = worker, share, tries, number
                for future in wait(busy, LOOK_EVERY_S, FIRST_COMPLETED).done:
                    worker, share, tries, number = busy.pop(future)
                    idle.append(worker)
                    spent = BadLuck(f"its worker {DIED}") if future.exception() else future.result()
                    if isinstance(spent, GenrobustError):
                        worker.end()  # the process itself may be at fault, such as by memory that it does not give back
                        worker.wait()
                        shown.failed(number)
                        if has_more_tries(share, tries, spent):
                            waiting.append((share, tries + 1))
                        else:
                            failed += [(job, spent) for job in share]
                    else:
                        work.ended(share, spent)
                        shown.ended(number)
                shown.update()

    def _run_together(self, work: Work, job: Job, shown: Shown, files: Path, failed: Failures) -> None:
        """Let several processes do a job together, each with its share of every batch."""
        load = pickle.dumps(work.load)
        for tries in range(1, TRIES + 1):
            began, number = time.monotonic(), shown.begin(job.size)
            failure = self._together(job, (load, work.unit, job.key, files / str(number)), shown)
            if failure is None:
                work.ended((job,), time.monotonic() - began)
                shown.ended(number)
                return
            shown.failed(number)
            if not has_more_tries((job,), tries, failure):
                failed.append((job, failure))

    def _together(self, job: Job, call: tuple[Any, ...], shown: Shown) -> GenrobustError | None:
        """Return how the processes that do a job together failed; None if it is done."""
        from torch.multiprocessing import start_processes
        from torch.multiprocessing.spawn import ProcessException

        backend = backend_for(bool(self._gpus))
        variables = [{**self._environment(rank), **group_environment()} for rank in range(job.workers)]
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            members = [Member(rank, job.workers, Path(folder), backend) for rank in range(job.workers)]
            with _starting(variables[0]):
                args = members, variables, *call
                group = start_processes(_take_part, args, job.workers, join=False, start_method="spawn")
            assert group is not None  # which join=False says
            try:
                while not group.join(LOOK_EVERY_S, GRACE_S):
                    shown.update()
            except ProcessException:
                failed = {member.rank: member.failure() for member in members}
                codes = dict(enumerate(process.exitcode for process in group.processes))
                notes = [failure for failure in failed.values() if failure is not None]
                if any(code not in (0, -signal.SIGTERM) and failed[rank] is None for rank, code in codes.items()):
                    notes.append(BadLuck(f"one of its worker {DIED}, or train.workers"))
                return root_cause(notes)
            finally:
                for process in group.processes:
                    process.kill()
                for process in group.processes:
                    process.join()
        return None

    def _environment(self, number: int) -> dict[str, str]:
        """The environment variables of the worker of this number."""
        gpu = {"CUDA_VISIBLE_DEVICES": self._gpus[number % len(self._gpus)]} if self._gpus else {}
        return {**worker_environment(self._threads), **gpu}

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
        return max(1, memory // (WORKER_BYTES + more))


class _Worker:
    """A worker process: a pool of its own, since a death breaks a whole pool."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        method = "forkserver" if sys.platform == "linux" else "spawn"
        self._context, self._variables = multiprocessing.get_context(method), variables
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, *call: Any) -> Future[float | GenrobustError]:
        """Let it do jobs, with the arguments of `_do`."""
        if self._pool is None:
            # The worker ends when the other end of this pipe does, which is this process's end too, however it ends.
            theirs, self._alive = self._context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(1, self._context, _begin, (theirs, dict(self._variables)))
        try:
            with _starting(self._variables):
                return self._pool.submit(_do, *call)
        except BrokenProcessPool as error:  # it died while it had no job
            broken = Future[float | GenrobustError]()
            broken.set_exception(error)
            return broken

    def end(self) -> None:
        """End the process at once, in the middle of what it does: all of it survives that."""
        if self._pool is not None:
            self._alive.close()

    def wait(self) -> None:
        """Wait until the process has ended; the next job starts another."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def group_environment() -> Mapping[str, str]:
    """Return the environment variables of processes that train together.

    Gloo and NCCL use the loopback interface; by default they would listen on the network. DDP does not log its warning
    about `find_unused_parameters`, which `Team.wrap_ddp` needs.
    """
    quiet = {"TORCH_CPP_LOG_LEVEL": "ERROR"}
    if (name := LOOPBACK.get(sys.platform)) is None:
        return quiet
    return {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name, **quiet}


def backend_for(on_gpus: bool) -> str:
    """Return what averages the gradients: NCCL is for Linux alone, and Gloo averages on GPUs, too, if slowly."""
    return "nccl" if on_gpus and sys.platform == "linux" else "gloo"


def _free_gpu() -> None:
    """Give back the memory of the GPU that this process has used."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()


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
    gpus = list(takewhile(lambda gpu: not gpu.startswith("-"), (gpu.strip() for gpu in named.split(","))))
    if all(gpu.startswith(MIG) for gpu in gpus):
        return gpus  # of which a process sees and counts one alone
    return gpus[: torch.cuda.device_count()]


@contextmanager
def _starting(variables: Mapping[str, str]) -> Iterator[None]:
    """Let processes that start in the block find `variables` from their first line on, and no module in this folder.

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


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let processes that start in the block hear nothing of what ends this one, which ends them, until they are ready.

    Python's servers of forks and of semaphores never are: a closed terminal would end them first, with tracebacks.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In a worker:


def _begin(alive: Connection, variables: Mapping[str, str]) -> None:
    """Prepare this process for work; it ends as soon as the other end of `alive` does."""
    # Its own lock is a semaphore, which a worker that ends at once would leave behind, with a warning.
    tqdm.set_lock(threading.RLock())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command hears of Ctrl-C too, and ends its workers
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    set_threads(variables)
    threading.Thread(target=_end_with, args=(alive,), name="end", daemon=True).start()


def _end_with(alive: Connection) -> None:
    alive.poll(None)
    os._exit(1)


def _do(load: bytes, unit: str, keys: Sequence[Any], file: Path) -> float | GenrobustError:
    """Do jobs, and count in `file` how far they are; return their seconds, or how they failed."""
    try:
        return do_jobs(load, unit, keys, partial(write_count, file))
    except Exception as error:
        return failure_of(error)


def _take_part(
    rank: int,
    members: Sequence[Member],
    variables: Sequence[Mapping[str, str]],
    load: bytes,
    unit: str,
    key: Any,
    file: Path,
) -> None:
    """Do a job as one of several processes, the first of which counts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which comes, too, when the command ends
    os.environ.update(variables[rank])
    try:
        members[rank].meet()
        do_jobs(load, unit, [key], partial(write_count, file) if rank == 0 else lambda counted: None)
    except Exception as error:
        members[rank].failed(error)
        raise
    members[rank].leave()
