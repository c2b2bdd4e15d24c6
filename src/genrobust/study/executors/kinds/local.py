"""Processes of this machine: as many as its cores, its memory or its GPUs allow, each with its own threads."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from genrobust.core import UserError, cores, device_kind, free_memory, worker_environment
from genrobust.recipe import EXECUTORS, Recipe, WorkerCount
from genrobust.study.executors.jobs import Work
from genrobust.study.executors.local import ExecutorConfig, Local
from genrobust.study.executors.workers import (
    VISIBLE,
    Call,
    Files,
    Result,
    Submit,
    WorkerDied,
    Workers,
    do,
    end_with_parent,
)

WORKER_BYTES = 2_000_000_000  # of a worker with the libraries, a small network and its images: 1.3 to 1.8 GB measured
WORKERS = "GENROBUST_WORKERS"
# What workers import. On Linux a server imports it once, and each worker is a fork of it; elsewhere forks of a process
# that has loaded torch are not safe, and each worker starts anew.
METHOD = "forkserver" if sys.platform == "linux" else "spawn"
PRELOAD = ["genrobust.study.study", "genrobust.train.loop", "genrobust.classifiers.predict.predicting"]
PRELOAD_TO_GENERATE = [
    "genrobust.generate.run",
    "genrobust.generate.loading",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",  # others are loaded by the worker that needs them
]


@EXECUTORS.register("local")
class LocalConfig(ExecutorConfig):
    """Processes of this machine, as many as its cores and memory have room for, or one for each GPU.

    `workers` sets another number, as does the environment variable GENROBUST_WORKERS.
    """

    workers: WorkerCount | None = None

    def open(self, recipe: Recipe, out: Path) -> Local:
        return Processes(recipe, self.workers)


class Processes(Workers):
    """Worker processes for `recipe`: `count` of them, or the number in the environment variable GENROBUST_WORKERS.

    By default there are as many as this machine has room for: on CPUs cores / `recipe.threads`, or fewer if memory
    is short; on CUDA one per GPU. Workers start with each work that has jobs for more than one, and end with it, or
    with this process. The number of workers does not change a byte of the output.

    Python starts a worker by importing the program's main module again: a script that uses this class keeps its work
    under ``if __name__ == "__main__":``.
    """

    def __init__(self, recipe: Recipe, count: int | None = None) -> None:
        self._threads, self._gpus = recipe.threads, _gpus(recipe.device)
        self._preload = [*PRELOAD, *(PRELOAD_TO_GENERATE if recipe.generator is not None else ())]
        count = _asked() if count is None else count
        self._asked = count is not None
        self._count = count or self._room()

    def workers(self) -> int:
        """Return how many processes work at the same time."""
        return self._count

    def together(self) -> int:
        return 1 if self._gpus is None else min(self._count, len(self._gpus) or self._count)

    def prepare(self) -> None:
        if self._count > 1 and METHOD == "forkserver":
            multiprocessing.set_forkserver_preload(self._preload)
            with _environment(worker_environment(self._threads)):
                starting = threading.Thread(target=_start_servers)
                starting.start()
                starting.join()

    def run(self, work: Work) -> None:
        """Do all of `work`, in this process where there is one job or one worker."""
        single = all(job.workers == 1 for job in work.jobs)
        if work.alone or (single and min(len(work.jobs), self._fitting(work.memory)) <= 1):
            Local.run(self, work)
            if self._gpus and (torch := sys.modules.get("torch")):  # workers need what was on it for what comes next
                gc.collect()
                torch.cuda.empty_cache()
            return
        self.prepare()
        with _environment(worker_environment(self._threads)):
            super().run(work)

    @contextmanager
    def channel(self) -> Iterator[Files]:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield Files(Path(folder))

    @contextmanager
    def pool(self, work: Work, processes: int) -> Iterator[Submit]:
        """Open threads that each keep one worker busy, which starts with its first call."""
        workers = [_Worker(self._seen(number, processes)) for number in range(self._fitting(work.memory) // processes)]
        idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in workers:
            idle.put(worker)

        def do_in_worker(call: Call) -> Result:
            worker = idle.get()
            try:
                return worker.do(call)
            finally:
                idle.put(worker)

        with ThreadPoolExecutor(len(workers), initializer=_block_signals) as threads:
            try:
                yield lambda calls: [threads.submit(do_in_worker, call) for call in calls]
            finally:
                threads.shutdown(wait=False, cancel_futures=True)
                for worker in workers:
                    worker.kill()

    def _seen(self, number: int, processes: int) -> str | None:
        """The GPUs of the worker of this number, as CUDA names them."""
        first = number * processes
        return (self._gpus and ",".join(self._gpus[n % len(self._gpus)] for n in range(first, first + processes))) or None

    def _room(self) -> int:
        if self._gpus is None:
            return 1  # an Apple GPU, or one GPU by its number
        return len(self._gpus) or min(max(1, cores() // self._threads), self._memory_for(0))

    def _fitting(self, more: int) -> int:
        """How many workers there are that take so many bytes `more` than a usual one."""
        return self._count if self._asked else min(self._count, self._memory_for(more))  # who asked knows

    def _memory_for(self, more: int) -> int:
        memory = free_memory()
        return sys.maxsize if memory is None else max(1, memory // (WORKER_BYTES + more))


class _Worker:
    """A process that does one call after another; another one takes its place after a failure."""

    def __init__(self, gpus: str | None) -> None:
        self._gpus = gpus
        self._lock, self._killed = threading.Lock(), False
        self._process: multiprocessing.process.BaseProcess | None = None

    def do(self, call: Call) -> Result:
        """Do `call`, and return its result."""
        with self._lock:
            if self._killed:
                return WorkerDied("it was not begun")
            if self._process is None:
                context = multiprocessing.get_context(METHOD)
                self._calls, theirs = context.Pipe()
                self._process = context.Process(target=_serve, args=(theirs, self._gpus))
                self._process.start()
                theirs.close()
        process = self._process
        result: Result
        try:
            self._calls.send(call)
            result = self._calls.recv()
        except (EOFError, OSError):
            process.join()
            result = WorkerDied(f"its worker process died (exit code {process.exitcode})")
        if isinstance(result, Exception):  # it may be at fault itself, such as by memory that it does not give back
            process.kill()
            process.join()
            self._process = None
        return result

    def kill(self) -> None:
        """End the process at once, in the middle of what it does: all of it survives that."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                self._process.kill()
                self._process.join()


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

    count = torch.cuda.device_count()  # CUDA ends the list at the first that it does not find
    named = os.environ.get(VISIBLE)
    return [gpu.strip() for gpu in named.split(",")][:count] if named else [str(index) for index in range(count)]


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Let processes that start in the block find `variables` from their first line on."""
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


def _block_signals() -> None:
    """Keep signals from this thread and the processes that it starts: the command hears them, and ends its workers."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def _start_servers() -> None:
    """Start Python's servers of forks and of semaphores, which a signal would end first, with tracebacks."""
    for server in (resource_tracker, forkserver):
        _block_signals()  # again: the first one lets signals through
        server.ensure_running()


# In a worker:


def _serve(calls: Connection, gpus: str | None) -> None:
    """Do calls until one fails, or until the command ends."""
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which a killed worker leaves behind, with a warning
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if gpus is not None:
        os.environ[VISIBLE] = gpus
    end_with_parent()
    result: Result = 0.0
    while not isinstance(result, Exception):
        result = do(calls.recv())
        calls.send(result)
