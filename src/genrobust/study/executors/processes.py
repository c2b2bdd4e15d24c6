"""Work in processes of this machine: as many as its cores, its memory or its GPUs allow, each with its own threads."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path

from tqdm import tqdm

from genrobust.core import GenrobustError, UserError, cores, device_kind, free_memory, worker_environment
from genrobust.recipe import Recipe
from genrobust.study.executors.jobs import Work
from genrobust.study.executors.local import Local
from genrobust.study.executors.workers import (
    BadLuck,
    Call,
    Files,
    Result,
    Slot,
    Workers,
    backend_for,
    failed,
    set_threads,
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
# Of processes that train together: Gloo and NCCL would listen on the network, and DDP would warn of
# `find_unused_parameters`, which `Team.wrap_ddp` needs.
LOOPBACK = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
TOGETHER = {"TORCH_CPP_LOG_LEVEL": "ERROR"}
TOGETHER |= {"GLOO_SOCKET_IFNAME": LOOPBACK, "NCCL_SOCKET_IFNAME": LOOPBACK} if LOOPBACK else {}


class Processes(Workers):
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
        self._count = count or self._room()

    def workers(self) -> int:
        """Return how many processes work at the same time."""
        return self._count

    def require(self, workers: int) -> None:
        room = 1 if self._gpus is None else min(self._count, len(self._gpus)) if self._gpus else self._count
        if workers > room:
            raise UserError(
                f"train.workers: {workers} workers train one classifier together, each with a GPU of its own, or on a "
                f"CPU with its threads ({self._threads}), and there is room for {room} here: lower train.workers, set "
                f"device to cuda or cpu or --workers {workers} if this machine can do more, or use a Ray cluster "
                "(--executor ray)"
            )

    def prepare(self) -> None:
        if self._count > 1 and METHOD == "forkserver":
            multiprocessing.set_forkserver_preload(self._preload)
            for server in (resource_tracker, forkserver):  # each alone: the first one lets signals through again
                with _starting(self._environment(0)):
                    server.ensure_running()

    def run(self, work: Work) -> None:
        """Do all of `work`, in this process where there is one job or one worker.

        Raises:
            UserError, GenrobustError: As for `Workers.run`, or the first job that fails here ends the work.
        """
        if work.alone or (
            all(job.workers == 1 for job in work.jobs) and min(len(work.jobs), self._fitting(work.memory)) <= 1
        ):
            Local.run(self, work)
            if self._gpus and (torch := sys.modules.get("torch")):  # workers need what was on it for what comes next
                gc.collect()
                torch.cuda.empty_cache()
            return
        self.prepare()
        super().run(work)

    @contextmanager
    def channel(self) -> Iterator[Files]:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield Files(Path(folder))

    def slots(self, work: Work, count: int, size: int = 1) -> Sequence[Slot]:
        backend = backend_for(bool(self._gpus))
        first = range(min(count, self._fitting(work.memory)))
        return [_Pools([self._environment(n + rank) for rank in range(size)], backend) for n in first]

    def _environment(self, number: int) -> dict[str, str]:
        """The environment variables of the worker of this number."""
        gpu = {"CUDA_VISIBLE_DEVICES": self._gpus[number % len(self._gpus)]} if self._gpus else {}
        return {**worker_environment(self._threads), **TOGETHER, **gpu}

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


class _Pools(Slot):
    """Worker processes, each in a pool of its own: a death breaks a whole pool."""

    def __init__(self, environments: Sequence[Mapping[str, str]], backend: str) -> None:
        self._environments, self._backend = environments, backend
        self._context = multiprocessing.get_context(METHOD)
        self._pools: list[ProcessPoolExecutor] = []

    def start(self, call: Call) -> list[Future[Result]]:
        if not self._pools:
            # Workers end when the other end of this pipe does, which is this process's end too, however it ends.
            theirs, self._alive = self._context.Pipe(duplex=False)
            begin = [(theirs, dict(environment)) for environment in self._environments]
            self._pools = [ProcessPoolExecutor(1, self._context, _begin, arguments) for arguments in begin]
        if (size := len(self._pools)) > 1:
            assert isinstance(call.channel, Files)
            call = replace(call, group=(self._backend, f"file://{call.channel.folder}/meeting-{call.number}", size))
        futures = []
        try:
            for rank, (pool, environment) in enumerate(zip(self._pools, self._environments, strict=True)):
                with _starting(environment):
                    futures.append(pool.submit(replace(call, rank=rank)))
        except BrokenProcessPool as error:  # it died while it had no job
            futures.append(failed(error))
        return futures

    def why_ended(self, future: Future[Result], error: BaseException) -> GenrobustError:
        return BadLuck("its worker process died: where memory ran out, lower --workers, batch_size or train.workers")

    def end(self) -> None:
        if self._pools:
            self._alive.close()

    def wait(self) -> None:
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)
        self._pools = []


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
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [gpu.strip() for gpu in named.split(",")][:count] if named else [str(index) for index in range(count)]


@contextmanager
def _starting(variables: Mapping[str, str]) -> Iterator[None]:
    """Let processes that start in the block find `variables` from their first line on, and hear nothing of signals.

    What ends this process ends them. Python's servers of forks and of semaphores are not ready for it at once: a closed
    terminal would end them first, with tracebacks. In a notebook this process imports from the current folder, and they
    would take that over.
    """
    before, path = {name: os.environ.get(name) for name in variables}, sys.path
    os.environ.update(variables)
    sys.path = [folder for folder in path if folder]
    try:
        if hasattr(signal, "pthread_sigmask"):  # not on Windows
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        yield
    finally:
        sys.path = path
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


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
