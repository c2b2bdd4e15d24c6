"""Jobs that other processes do: who does which, which are tried again, and what is reported of the others."""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from genrobust.core import (
    Bar,
    Busy,
    DiskFull,
    GenrobustError,
    OutOfMemory,
    UserError,
    is_out_of_memory,
    refusal,
)
from genrobust.study.jobs import Job

TRIES = 3  # of a job
HOPELESS = 10  # failures in a row, or two a worker: not the jobs are at fault, but a full shared disk, for instance
LISTED = 20  # failed jobs, in a message
LOOK_EVERY_S = 0.5  # at the workers' progress
BUSY_S = 60.0  # before what a job found busy is tried again: NFS keeps the lock of a dead node up to 90 s
PATIENCE_S = 7 * 24 * 3600  # of workers of a group for each other: one validates for long. Deaths are found otherwise
log = logging.getLogger(__name__)


class BadLuck(GenrobustError):
    """A failure that another process may not have: this one died, or found no memory."""


class Unexpected(GenrobustError):
    """A failure that is none of genrobust's own."""


def failure_of(error: Exception) -> GenrobustError:
    """Return how a job that raised `error` failed, as an error that can be pickled, with the traceback as its note."""
    if isinstance(error, OutOfMemory):
        failure: GenrobustError = BadLuck(str(error))
    elif isinstance(error, GenrobustError):
        kind = next(kind for kind in (Busy, UserError, DiskFull, GenrobustError) if isinstance(error, kind))
        failure = kind(str(error))
    elif isinstance(error, OSError) and isinstance(error.filename, str) and error.strerror:
        failure = refusal(Path(error.filename), error, "use")
    elif is_out_of_memory(error):
        failure = BadLuck(
            f"no memory left on its device or node ({' '.join(str(error).split())[:200]}): lower batch_size, or let "
            "fewer workers share it, by --workers or by a higher execute.num_cpus or num_gpus"
        )
    else:
        failure = Unexpected(f"unexpected {type(error).__name__}: {error}")
    failure.add_note("in another process:\n" + "".join(traceback.format_exception(error)))
    return failure


def root_cause(failures: Sequence[GenrobustError]) -> GenrobustError:
    """Return the failure that explains those of a group: when a worker dies, the others find a broken connection.

    A user's mistake comes first, then a death or full memory, then what a worker knows, then anything.
    """
    order = UserError, BadLuck, GenrobustError

    def rank(failure: GenrobustError) -> int:
        return len(order) if isinstance(failure, Unexpected) else [isinstance(failure, k) for k in order].index(True)

    return min(failures, key=rank)


class Worker(Protocol):
    """A process elsewhere that does one job at a time. It starts with its first job, and anew after `stop`."""

    def submit(self, key: Any) -> Future[GenrobustError | None]:
        """Let it do the job of `key`; the future gives how that failed, None if it is done, or raises if it dies."""

    def count(self) -> Counted:
        """Return how much of the job is done."""

    def why_died(self, error: Exception) -> str:
        """Return, in a few words, why the future raised `error`."""

    def stop(self) -> None:
        """End the process, in the middle of what it does: all of that survives it."""


class Counted(NamedTuple):
    """How many items of a job are done, and how many of them an earlier run did, which say nothing of the speed."""

    done: int = 0
    found: int = 0

    def within(self, size: int) -> Counted:
        """Return it for a job of `size` items."""
        return Counted(min(self.done, size), min(self.found, size))

    def plus(self, more: Counted) -> Counted:
        """Return the sum of both."""
        return Counted(self.done + more.done, self.found + more.found)


@dataclass
class Try:
    """A job and how it failed until now."""

    job: Job
    failures: list[GenrobustError] = field(default_factory=list)
    failed_on: set[Worker] = field(default_factory=set)
    not_before: float = 0.0  # of `time.monotonic`
    counted: Counted = field(default_factory=Counted)


class WorkerPool:
    """Workers that do the jobs of the work called `what`.

    On a cluster, failed jobs are retried, first by another worker, perhaps on another node; jobs that failed `TRIES`
    times are reported when all others are done. On one machine, only failures by bad luck are retried; any other ends
    the work.
    """

    def __init__(self, what: str, bar: Bar, on_cluster: bool) -> None:
        self._what, self._bar, self._on_cluster = what, bar, on_cluster
        self._waiting, self._failed = deque[Try](), list[Try]()
        self._idle, self._busy = list[Worker](), dict[Future[GenrobustError | None], tuple[Worker, Try]]()
        self._room, self._in_a_row, self._done, self._shown = 0, 0, Counted(), Counted()

    def run(self, jobs: Iterable[Job], new_worker: Callable[[], Worker], room: Callable[[], int]) -> None:
        """Do jobs, as many at a time as `room` says; where that raises, the workers are stopped.

        Raises:
            UserError: A job failed by a mistake of the user's.
            GenrobustError: Too many failures in a row; on one machine any failure. The message lists the failed jobs.
        """
        self._waiting.extend(map(Try, jobs))
        try:
            while self._waiting or self._busy:
                self._room = room()
                while len(self._idle) + len(self._busy) < min(self._room, len(self._waiting) + len(self._busy)):
                    self._idle.append(new_worker())
                while self._idle and len(self._idle) + len(self._busy) > self._room:  # such as when a node is gone
                    self._idle.pop().stop()  # a busy one may wait for its place
                self._hand_out()
                if not self._busy:
                    time.sleep(LOOK_EVERY_S)
                for future in wait(self._busy, LOOK_EVERY_S, FIRST_COMPLETED).done:
                    self._ended(future)
                self._show()
        except BaseException:
            self.stop()
            raise

    def _show(self) -> None:
        made = self._done
        for worker, one in self._busy.values():
            one.counted = worker.count().within(one.job.size)
            made = made.plus(one.counted)
        before, self._shown = self._shown, made
        found = made.found - before.found
        self._bar.advance(found, found=True)
        self._bar.advance(made.done - before.done - found)

    def stop(self) -> None:
        """Stop all workers, in the middle of what they do."""
        for worker in (*self._idle, *(worker for worker, _ in self._busy.values())):
            worker.stop()
        self._idle.clear()
        self._busy.clear()

    def report(self, stopped: str = "") -> None:
        """Raise a GenrobustError that lists the failed jobs, if there are any; a DiskFull where all of them were."""
        failed = [*self._failed, *(one for one in self._waiting if one.failures)]
        if not (failed or stopped):
            return
        lines = [stopped] if stopped else []
        if failed:
            lines.append(f"{self._what}: {len(failed)} of the jobs failed:")
            lines += [f"  {one.job.name}: {one.failures[-1]} (tries: {len(one.failures)})" for one in failed[:LISTED]]
            lines += [f"  and {len(failed) - LISTED:,} more"] if len(failed) > LISTED else []
        lines.append("completed jobs are kept: rerun to do the others")
        all_full = failed and all(isinstance(one.failures[-1], DiskFull) for one in failed)
        error = (DiskFull if all_full else GenrobustError)("\n".join(lines))
        raise error from (failed[-1].failures[-1] if failed else None)

    def _hand_out(self) -> None:
        workers = {*self._idle, *(worker for worker, _ in self._busy.values())}
        for worker in tuple(self._idle):
            if len(self._busy) >= self._room:
                return
            due = [one for one in self._waiting if one.not_before <= time.monotonic()]
            fitting = (one for one in due if worker not in one.failed_on or workers <= one.failed_on)
            if one := next(fitting, None):
                self._waiting.remove(one)
                self._idle.remove(worker)
                self._busy[worker.submit(one.job.key)] = worker, one
            elif self._on_cluster and not self._waiting:
                worker.stop()  # another, which has a job, may wait for its place

    def _ended(self, future: Future[GenrobustError | None]) -> None:
        worker, one = self._busy.pop(future)
        self._idle.append(worker)
        try:
            failure = future.result()
        except Exception as error:
            failure = BadLuck(worker.why_died(error))
        if failure is None:
            self._done = self._done.plus(Counted(one.job.size, one.counted.found))
            self._in_a_row = 0
            return
        worker.stop()  # the process itself may be at fault, such as by memory that it does not give back
        # A node that died may still hold what its job is tried again on: a shared disk frees its locks late.
        is_held = self._on_cluster and isinstance(failure, Busy)
        is_mistake = isinstance(failure, UserError) and not is_held
        if is_mistake or not (self._on_cluster or isinstance(failure, BadLuck)):
            raise failure
        one.not_before = time.monotonic() + BUSY_S if is_held else 0.0
        one.failures.append(failure)
        one.counted = Counted()
        if self._on_cluster:
            one.failed_on.add(worker)
        if len(one.failures) < TRIES:
            log.warning("%s: %s; it is tried again", one.job.name, failure)
            self._waiting.append(one)
        else:
            self._failed.append(one)
        self._in_a_row += 1
        if self._in_a_row >= max(HOPELESS, 2 * self._room):  # a node that dies takes all its workers with it
            self.report(f"stopped after {self._in_a_row} failures in a row, the last of them: {failure}")
