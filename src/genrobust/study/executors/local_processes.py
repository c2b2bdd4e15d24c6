"""Processes of this machine: as many as its cores, its memory or its GPUs allow, each with its own threads."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import cycle
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType
from typing import Any

from genrobust.core import UserError, cores, device_kind, free_memory, worker_environment
from genrobust.recipe import EXECUTORS, Recipe, WorkerCount
from genrobust.study.executors.calls import Call, Result, WorkerDied, run_call
from genrobust.study.executors.executor import Executor, ExecutorConfig
from genrobust.study.executors.work import Work
from genrobust.study.executors.workers import Submit, Workers

WORKER_BYTES = 2_000_000_000  # libraries, a small network and its images: 1.3 to 1.8 GB measured
WORKERS = "GENROBUST_WORKERS"
VISIBLE = "CUDA_VISIBLE_DEVICES"
# On Linux a server imports the modules below once, and each worker is a fork of it. On other systems, a process with
# torch cannot be forked safely, so each worker starts from nothing.
METHOD = "forkserver" if sys.platform == "linux" else "spawn"
PRELOAD = ["genrobust.study.study", "genrobust.train.loop", "genrobust.classifiers.predict.predict_sets"]
PRELOAD_TO_GENERATE = [
    "genrobust.generate.generation",
    "genrobust.generate.pipeline_loading",
    # A worker loads other pipelines itself.
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
]


@EXECUTORS.register("local")
class LocalConfig(ExecutorConfig):
    """Processes of this machine, as many as its cores and memory have room for, or one for each GPU.

    `workers` sets another number, as does the environment variable GENROBUST_WORKERS.
    """

    workers: WorkerCount | None = None

    def open(self, recipe: Recipe, out: Path) -> Executor:
        return Processes(recipe, self.workers)


class Processes(Workers):
    """Worker processes for `recipe`: `count` of them, or `execute.workers`, or as GENROBUST_WORKERS says.

    By default there are as many as this machine has room for: on CPUs cores / `recipe.threads`, or fewer if memory
    is short; on CUDA one per GPU. Workers start with each work that has items for more than one, and end with it, or
    with this process. The number of workers does not change a byte of the output.
    """

    def __init__(self, recipe: Recipe, count: int | None = None) -> None:
        self._threads = recipe.threads
        self._gpus = _gpus(recipe.device)
        self._preload = [*PRELOAD, *(PRELOAD_TO_GENERATE if recipe.generator is not None else ())]
        if count is None and isinstance(recipe.execute, LocalConfig):
            count = recipe.execute.workers
        count = count or _count_in_environment()
        self._is_chosen = count is not None
        self._count = count or self._room()

    def workers(self) -> int:
        return self._count

    def prepare(self) -> None:
        if self._count > 1 and METHOD == "forkserver":
            multiprocessing.set_forkserver_preload(self._preload)
            with _environment(worker_environment(self._threads)):
                starting = threading.Thread(target=_start_servers)
                starting.start()
                starting.join()

    def run(self, work: Work) -> None:
        """Make all items of `work`; in this process if there is only one item or one worker."""
        if work.alone or min(len(work.items), self._fitting(work.memory)) <= 1:
            Executor.run(self, work)
            torch = sys.modules.get("torch")
            if self._gpus and torch:
                # Free the GPU for the workers that come next.
                gc.collect()
                torch.cuda.empty_cache()
            return
        self.prepare()
        with _environment(worker_environment(self._threads)):
            super().run(work)

    @contextmanager
    def pool(self, work: Work) -> Iterator[Submit]:
        """Open threads that each keep one worker busy; all workers end when `alive` is closed."""
        ends, alive = multiprocessing.Pipe(duplex=False)
        idle: SimpleQueue[_Worker] = SimpleQueue()
        count = self._fitting(work.memory)
        gpus = cycle(self._gpus or [""])
        starting = threading.Lock()
        for _ in range(count):
            idle.put(_Worker(ends, next(gpus), starting))

        def run_in_worker(call: Call) -> Result:
            worker = idle.get()
            try:
                return worker.run(call)
            finally:
                idle.put(worker)

        with ThreadPoolExecutor(count, initializer=_block_signals) as threads:
            try:
                yield lambda calls: [threads.submit(run_in_worker, call) for call in calls]
            finally:
                threads.shutdown(wait=False, cancel_futures=True)
                alive.close()

    def _room(self) -> int:
        if self._gpus is None:
            return 1  # an Apple GPU, or one GPU by its number
        return len(self._gpus) or min(max(1, cores() // self._threads), self._memory_for(0))

    def _fitting(self, more: int) -> int:
        """Return how many workers fit if each needs so many bytes `more` than usual."""
        # The user chose the number of workers, so skip the memory check.
        if self._is_chosen:
            return self._count
        return min(self._count, self._memory_for(more))

    def _memory_for(self, more: int) -> int:
        memory = free_memory()
        if memory is None:
            return sys.maxsize
        return max(1, memory // (WORKER_BYTES + more))


class _Worker:
    """A process that runs one call after another. A new process replaces it after a failure."""

    def __init__(self, ends: Connection, gpu: str, starting: threading.Lock) -> None:
        self._ends = ends
        self._gpu = gpu
        # Held while a process starts.
        self._starting = starting
        self._process: multiprocessing.process.BaseProcess | None = None

    def run(self, call: Call) -> Result:
        if self._process is None:
            context: Any = multiprocessing.get_context(METHOD)
            self._calls, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, self._ends, self._gpu))
            with self._starting, _main_hidden():
                self._process.start()
            theirs.close()
        try:
            self._calls.send(call)
            result: Result = self._calls.recv()
        except (EOFError, OSError):
            self._process.join()
            result = WorkerDied(f"its worker process died (exit code {self._process.exitcode})")
        if isinstance(result, Exception):
            # The process may be the cause, for example by memory that it does not give back.
            self._process.kill()
            self._process.join()
            self._process = None
        return result


def _count_in_environment() -> int | None:
    """Read the number of workers from the environment. Raises UserError if it is not a number of workers."""
    text = os.environ.get(WORKERS)
    if not text:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise UserError(f"{WORKERS}={text[:20]}: give a number of worker processes, from 1 to 9999")
    return int(text)


def _gpus(device: str) -> list[str] | None:
    """Return the GPUs that workers share, by their CUDA names: none on a CPU; None if one GPU does all work."""
    kind = device_kind(device)
    if kind == "cpu":
        return []
    if kind != "cuda" or ":" in device:
        return None
    import torch

    # CUDA ends the list at the first GPU that it does not find.
    count = torch.cuda.device_count()
    named = os.environ.get(VISIBLE)
    if named:
        return [gpu.strip() for gpu in named.split(",")][:count]
    return [str(index) for index in range(count)]


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set `variables` for the processes that start in the block, from their first line on."""
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


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Hide the main module from processes that start in the block.

    Python imports it in each of them. A script without ``if __name__ == "__main__":`` would begin its study again in
    each worker. Workers need nothing from it: items are made by functions of genrobust.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _block_signals() -> None:
    """Block signals in this thread and the processes that it starts: the command handles them, and ends its workers."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def _start_servers() -> None:
    """Start Python's servers of forks and semaphores with signals blocked: a signal would end them with tracebacks."""
    for server in (resource_tracker, forkserver):
        # Block again: starting the first server unblocks signals.
        _block_signals()
        server.ensure_running()


# In a worker:


def _serve(calls: Connection, ends: Connection, gpu: str) -> None:
    """Run calls on `gpu`, "" for a CPU, until the command ends this process, or ends itself."""
    from tqdm import tqdm

    # The default lock of tqdm is a semaphore, which a killed worker would leave behind, with a warning.
    tqdm.set_lock(threading.RLock())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if gpu:
        os.environ[VISIBLE] = gpu
    _end_with(ends)
    # The end of the command closes `calls`.
    with suppress(EOFError):
        while True:
            calls.send(run_call(calls.recv()))


def _end_with(ends: Connection) -> None:
    """End this process as soon as `ends` closes at its other end."""

    def watch() -> None:
        wait([ends])
        os._exit(1)

    threading.Thread(target=watch, name="end", daemon=True).start()
