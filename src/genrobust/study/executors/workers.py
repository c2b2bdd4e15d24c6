"""Jobs in other processes: what such a process does, and the loop that hands jobs out and retries them."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import pickle
import sys
import tempfile
import threading
import time
import traceback
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from genrobust.core import (
    Bar,
    GenrobustError,
    counting,
    is_out_of_memory,
    one_line,
    progress_bar,
    some_of,
    worker_environment,
)
from genrobust.study.executors.jobs import DoJobs, Job, Work
from genrobust.study.executors.local import Local

TRIES = 3  # of a job
LISTED = 20  # failed jobs, in a message
REPORT_EVERY_S = 0.2  # of the progress
PATIENCE_S = 7 * 24 * 3600  # of processes that train together, for each other: one validates for long
VISIBLE = "CUDA_VISIBLE_DEVICES"
# Of processes that train together: Gloo and NCCL would listen on the network, and DDP would warn of
# `find_unused_parameters`, which `Team.wrap_ddp` needs.
LOOPBACK = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
TOGETHER = {"TORCH_CPP_LOG_LEVEL": "ERROR"}
TOGETHER |= {"GLOO_SOCKET_IFNAME": LOOPBACK, "NCCL_SOCKET_IFNAME": LOOPBACK} if LOOPBACK else {}
log = logging.getLogger(__name__)


class WorkerDied(GenrobustError):
    """A worker ended without a result: it was killed, or its node died."""


class Channel(Protocol):
    """How calls report their progress to the command; pickled with them."""

    def send(self, number: int, done: int, found: int) -> None:
        """Report that so many items of a call are `done`, of which an earlier run did those that were `found`."""

    def receive(self, running: Container[int]) -> Iterable[tuple[int, int, int]]:
        """Return the number, done and found of the calls that reported, of those that are `running`."""


@dataclass(frozen=True)
class Files(Channel):
    """A file for each call, in a folder that all share."""

    folder: Path

    def send(self, number: int, done: int, found: int) -> None:
        (self.folder / str(number)).write_text(f"{done} {found}")

    def receive(self, running: Container[int]) -> Iterator[tuple[int, int, int]]:
        for file in self.folder.iterdir():
            with suppress(OSError, ValueError):  # it is just being written
                if (number := int(file.name)) in running:
                    done, found = map(int, file.read_text().split())
                    yield number, done, found


# In a worker:


@dataclass(frozen=True)
class Call:
    """Jobs for another process, or for several that do them together.

    Attributes:
        load: Pickled, the function that returns what does jobs.
        number: What the call is known by to `channel`.
        folder: What paths are relative to, on nodes that have it.
        processes: How many do them together.
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
    """Do the jobs of a call in this process, or in processes that it starts."""
    try:
        with suppress(OSError):
            os.chdir(call.folder)
        os.environ.update(worker_environment(call.threads))
        return _run_here(call) if call.processes == 1 else _run_together(call)
    except Exception as error:
        return portable(error)


def portable(error: Exception) -> Exception:
    """Return `error` with its traceback as a note, or what stands for it if it cannot be pickled."""
    error.add_note("in another process:\n" + "".join(traceback.format_exception(error)))
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = GenrobustError(f"unexpected {type(error).__name__}: {error}")
        copy.add_note(error.__notes__[-1])
    return copy


@lru_cache(maxsize=1)
def _loaded(load: bytes) -> DoJobs:
    """Return what `load` loads, which stays in this process for its next call.

    No file is unpickled: these bytes are the command's own, from its memory.
    """
    function: DoJobs = pickle.loads(load)()
    return function


def _run_here(call: Call, reports: bool = True) -> float:
    done = found = 0
    reported_at = 0.0

    def count(more: int, note: str | None, reused: bool) -> None:
        nonlocal done, found, reported_at
        done, found = done + more, found + (more if reused else 0)
        if reports and time.monotonic() - reported_at > REPORT_EVERY_S:
            call.channel.send(call.number, done, found)
            reported_at = time.monotonic()

    do_jobs = _loaded(call.load)
    began = time.monotonic()
    with counting(call.unit, count):
        do_jobs(call.keys)
    return time.monotonic() - began


def _run_together(call: Call) -> float:
    """Run `call` in processes that torch starts, and ends as soon as one fails.

    Raises:
        WorkerDied: One of them died, or failed in a way that the death of another explains.
    """
    from torch.multiprocessing import ProcessExitedException, ProcessRaisedException, spawn

    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # of those that it ends
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(call.processes)]
    died: Exception | None = None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        of_ranks = replace(call, channel=Files(Path(folder)))  # that of Ray is for this process alone
        group = spawn(_run_rank, (of_ranks, folder, [theirs for _, theirs in pipes]), call.processes, join=False)
        try:
            while not group.join(REPORT_EVERY_S):
                for sent in of_ranks.channel.receive({call.number}):
                    call.channel.send(*sent)
        except (ProcessExitedException, ProcessRaisedException) as error:
            died = error
    results: list[Result] = []
    for mine, theirs in pipes:
        theirs.close()
        with suppress(EOFError):
            results.append(mine.recv())
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
    if gpus := os.environ.get(VISIBLE):
        os.environ[VISIBLE] = gpus.split(",")[rank]
    from torch import cuda, distributed

    try:
        # NCCL is for Linux alone, and Gloo averages on GPUs, too, if slowly.
        backend = "nccl" if gpus and sys.platform == "linux" and cuda.is_available() else "gloo"
        patience, url = timedelta(seconds=PATIENCE_S), f"file://{folder}/meeting"
        distributed.init_process_group(backend, url, patience, call.processes, rank)
        results[rank].send(_run_here(call, reports=rank == 0))
        distributed.destroy_process_group()  # after a failure, that would wait for the others
    except Exception as error:
        results[rank].send(portable(error))
        raise


def end_with(other: Connection | int) -> None:
    """Let this process end as soon as `other` is closed at its other end, or as a process does that has this handle."""

    def watch() -> None:
        wait([other])
        os._exit(1)

    threading.Thread(target=watch, name="end", daemon=True).start()


# In the command:


class Progress:
    """How far calls are, shown by `bar` as one."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._shown: dict[int, tuple[int, int]] = {}

    def show(self, number: int, done: int, found: int | None = None) -> None:
        """Show that so much of a call is `done`, and `found` as before if None; less where it begins again."""
        done_before, found_before = self._shown.get(number, (0, 0))
        found = min(done, found_before if found is None else found)
        self._shown[number] = done, found
        self._bar.advance(found - found_before, found=True)
        self._bar.advance(done - done_before - (found - found_before))


Submit = Callable[[Sequence[Call]], Iterable[Future[Result]]]


class Workers(Local):
    """Other processes do the jobs: a call each, or a share of them where that is cheaper.

    Attributes:
        most_calls: How many calls the jobs of a stage make at most.
        look_every_s: How often the state of calls is read.
        shared: The folder that workers share with the command; None for that of temporary files.
        retried: Failures after which a job is tried again, beside full memory.
    """

    most_calls = sys.maxsize
    look_every_s = 0.1
    shared: Path | None = None
    retried: tuple[type[Exception], ...] = (WorkerDied,)
    _threads: int

    @abstractmethod
    def pool(self, work: Work, processes: int) -> AbstractContextManager[Submit]:
        """Open workers for calls of so many `processes` each; yields what begins calls, and kills them in the end.

        A call whose worker dies raises an error, whichever; one that fails returns it.
        """

    @contextmanager
    def channel(self) -> Iterator[Channel]:
        """Open what calls report to."""
        if self.shared is not None:
            self.shared.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.shared, ignore_cleanup_errors=True) as folder:
            yield Files(Path(folder))

    def run(self, work: Work) -> None:
        """Do all of `work`; a job whose worker dies or runs out of memory is tried again.

        Raises:
            GenrobustError: Jobs whose workers died in all their tries; raised when the others are done.
            Exception: A job failed otherwise, which ends the work. What had started resumes in a later run.
        """
        if work.alone or not work.jobs:
            Local().run(work)
            return
        failed: list[str] = []
        with progress_bar(work.what, work.size, work.unit) as bar, self.channel() as channel:
            numbers, progress = itertools.count(), Progress(bar)
            for processes in sorted({job.workers for job in work.jobs}):
                alike = replace(work, jobs=[job for job in work.jobs if job.workers == processes])
                shares = {next(numbers): share for share in alike.shares(self.workers(), self.most_calls)}
                load, here = pickle.dumps(work.load), str(Path.cwd())
                call = Call(load, work.unit, (), 0, channel, self._threads, here, processes)
                with self.pool(work, processes) as submit:
                    failed += self._finish(work, shares, call, submit, progress)
        if failed:
            raise GenrobustError(
                f"{work.what}: {len(failed)} of the jobs failed:\n" + some_of(failed, LISTED, "\n") + "\n"
                "completed jobs are kept: rerun to do the others; if memory ran out, lower --workers or batch_size"
            )

    def _finish(
        self, work: Work, shares: Mapping[int, Sequence[Job]], call: Call, submit: Submit, progress: Progress
    ) -> list[str]:
        """Do `shares` in calls of their numbers; return a line for each job that failed in all its tries."""
        running: dict[int, Future[Result]] = {}
        todo, tries, failed = list(shares), Counter[int](), list[str]()
        while todo or running:
            calls = [replace(call, number=number, keys=tuple(job.key for job in shares[number])) for number in todo]
            running.update(zip(todo, submit(calls) if calls else (), strict=True))
            tries.update(todo)
            todo.clear()
            time.sleep(self.look_every_s)
            for number, done, found in call.channel.receive(running):
                progress.show(number, done, found)
            for number in [number for number, future in running.items() if future.done()]:
                share, result = shares[number], _result(running.pop(number))
                if isinstance(result, float):
                    progress.show(number, sum(job.size for job in share))
                    if tries[number] == 1:  # a later try went on from what the first one left
                        work.ended(share, result)
                    continue
                progress.show(number, 0, 0)
                if not isinstance(result, self.retried) and not is_out_of_memory(result):
                    raise result
                if tries[number] < TRIES:
                    log.warning("%s: %s; it is tried again", share[0].name, one_line(result))
                    todo.append(number)
                else:
                    failed += [f"  {job.name}: {one_line(result)} (tries: {TRIES})" for job in share]
        return failed


def _result(future: Future[Result]) -> Result:
    """Return the result of a call; whatever it raises means that its worker died."""
    try:
        return future.result()
    except Exception as error:
        return error if isinstance(error, WorkerDied) else WorkerDied(f"its worker died: {one_line(error)}")
