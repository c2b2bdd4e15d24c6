"""Work in processes of this machine: as many as its cores, its memory or its GPUs allow, each with its own threads."""

from __future__ import annotations

import gc
import os
import pickle
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import takewhile

from genrobust.core import UserError, cores, device_kind, free_memory, progress_bar, worker_environment
from genrobust.recipe import Recipe
from genrobust.study.executors.group import Group, group_environment
from genrobust.study.executors.local import Local
from genrobust.study.executors.pool import WorkerPool
from genrobust.study.executors.worker_process import WorkerProcess
from genrobust.study.jobs import Job, Work

WORKER_BYTES = 2_000_000_000  # of a worker with the libraries, a small network and its images: 1.3 to 1.8 GB measured
WORKERS = "GENROBUST_WORKERS"
MIG = "MIG-"  # how names of instances of a partitioned GPU begin


class Processes(Local):
    """Worker processes for `recipe`: `count` of them, or the number in the environment variable GENROBUST_WORKERS.

    By default there are as many as this machine has room for: on CPUs cores / `recipe.threads`, or fewer if memory
    is short; on CUDA one per GPU. Workers start with the first work that has jobs for more than one, and stay
    until this process ends. A job whose worker dies or runs out of memory is tried again in a new one; workers die
    with this process, and with `close`. The number of workers does not change a byte of the output. Jobs of several
    workers come last, one after another.

    Python starts a worker by importing the program's main module again: a script that uses this class keeps its work
    under ``if __name__ == "__main__":``.
    """

    def __init__(self, recipe: Recipe, count: int | None = None) -> None:
        self._workers: list[WorkerProcess] = []
        self._threads, self._gpus = recipe.threads, _gpus(recipe.device)
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

    def run(self, work: Work) -> None:
        """Do all of `work`, in this process where there is one job or one worker.

        A job is tried again where its worker died or ran out of memory.

        Raises:
            UserError, GenrobustError: A worker failed; the first failure is raised at once. What the others had started
                resumes in a later run.
        """
        single = [job for job in work.jobs if job.workers == 1]
        groups = sorted({job.workers for job in work.jobs} - {1})
        for size in groups:
            self.require(size)
        of_single = min(self._count, len(single), self._fitting(work.memory))
        count = max([of_single, *groups])
        kept = count if count > 1 else 0 if self._gpus and not work.alone else len(self._workers)
        for worker in self._workers[kept:]:  # they hold what they loaded for other work, and take no part in this
            worker.stop()
        if count <= 1 or work.alone:
            super().run(work)
            if self._gpus and work.jobs:
                _free_gpu()  # which a worker needs for what comes next
            return
        task = pickle.dumps(work.load), work.unit
        self._workers += [self._new(number) for number in range(len(self._workers), of_single)]
        for worker in self._workers:
            worker.task = task
        with progress_bar(work.what, work.size, work.unit, seconds=work.seconds) as bar:
            pool = WorkerPool(work.what, bar, on_cluster=False)
            try:
                if single:
                    shares = _shares(single, of_single if work.together else len(single))
                    pool.run(shares, iter(self._workers).__next__, lambda: of_single)
                for size in groups:
                    pool.stop()
                    self.close()  # those that wait would keep memory of the devices
                    jobs = [job for job in work.jobs if job.workers == size]
                    pool.run(_shares(jobs, len(jobs)), partial(self._group, size, task), lambda: 1)
            except BaseException:
                self.close()  # also where another interrupt came while the pool stopped them
                raise
            if groups:
                pool.stop()
            pool.report()

    def _new(self, number: int, more: Mapping[str, str] | None = None) -> WorkerProcess:
        variables = {**worker_environment(self._threads), **(more or {})}
        if self._gpus:
            variables["CUDA_VISIBLE_DEVICES"] = self._gpus[number % len(self._gpus)]
        return WorkerProcess(variables)

    def _group(self, size: int, task: tuple[bytes, str]) -> Group:
        members = [self._new(number, group_environment()) for number in range(size)]
        for member in members:
            member.task = task
        return Group(members, bool(self._gpus))

    def close(self) -> None:
        """End all workers at once, in the middle of what they do: all of it survives that."""
        for worker in self._workers:
            worker.request_stop()  # first all of them: an interrupt may cut the waiting short
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


def _shares(jobs: Sequence[Job], count: int) -> list[Job]:
    """Deal the jobs out to `count` groups, in their order: each a job whose key lists theirs."""
    groups = [jobs[number::count] for number in range(count)]
    names = [group[0].name if len(group) == 1 else f"{group[0].name} and {len(group) - 1} more" for group in groups]
    return [
        Job([job.key for job in group], name, sum(job.size for job in group))
        for name, group in zip(names, groups, strict=True)
    ]
