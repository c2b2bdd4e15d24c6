"""Jobs in other processes: what such a process does with its share, and the loop that hands shares out."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

from genrobust.core import (
    Bar,
    Busy,
    DiskFull,
    GenrobustError,
    OutOfMemory,
    UserError,
    counting,
    is_out_of_memory,
    mirrors,
    one_line,
    progress_bar,
    refusal,
    some_of,
    worker_environment,
)
from genrobust.study.executors.jobs import DoJobs, Job, Work
from genrobust.study.executors.local import Local

TRIES = 3  # of a job
LISTED, NEW_LINE = 20, "\n"  # failed jobs, in a message
LOOK_EVERY_S = 0.5  # at the progress
REPORT_EVERY_S = 0.2  # of the progress
GRACE_S = 5.0  # after a failure, for those who do the job too: one of them may explain it, and the rest wait for ever
PATIENCE_S = 7 * 24 * 3600  # of processes that train together, for each other: one validates for long
log = logging.getLogger(__name__)


class BadLuck(GenrobustError):
    """A failure that another process may not have: this one died, or found no memory."""


class Unexpected(GenrobustError):
    """A failure that is none of genrobust's own."""


def failure_of(error: BaseException) -> GenrobustError:
    """Return how a job that raised `error` failed, as an error that can be pickled, with the traceback as its note."""
    kinds = (Busy, UserError, DiskFull, BadLuck, Unexpected, GenrobustError)
    if is_out_of_memory(error) and not isinstance(error, OutOfMemory):
        failure: GenrobustError = BadLuck(
            f"no memory left on its device or node ({one_line(error)}): lower batch_size, or let "
            "fewer workers share it, by --workers or by a higher execute.num_cpus or num_gpus"
        )
    elif isinstance(error, GenrobustError):
        kind = BadLuck if isinstance(error, OutOfMemory) else next(kind for kind in kinds if isinstance(error, kind))
        failure = kind(str(error))
    elif isinstance(error, OSError) and isinstance(error.filename, str) and error.strerror:
        failure = refusal(Path(error.filename), error, "use")
    else:
        failure = Unexpected(f"unexpected {type(error).__name__}: {error}")
    failure.add_note("in another process:\n" + "".join(traceback.format_exception(error)))
    return failure


def root_cause(failures: Iterable[GenrobustError]) -> GenrobustError:
    """Return the failure that explains those of a group: when a worker dies, the others find a broken connection.

    A user's mistake comes first, then a death or full memory, then what a worker knows, then anything.
    """
    ranks = {UserError: 0, BadLuck: 1, Unexpected: 3}
    return min(failures, key=lambda failure: next((r for kind, r in ranks.items() if isinstance(failure, kind)), 2))


class Channel(Protocol):
    """How workers tell how far they are; pickled with their calls."""

    def send(self, number: int, done: int, found: int) -> None:
        """Tell that so many items of a call are `done`, of which an earlier run did those that were `found`."""

    def receive(self, running: Iterable[int]) -> Iterable[Sequence[int]]:
        """Return the number, done and found of the calls that are `running`, or of those that sent anything since."""


@dataclass(frozen=True)
class Files(Channel):
    """A file for each call, in a folder that all share."""

    folder: Path

    def send(self, number: int, done: int, found: int) -> None:
        (self.folder / str(number)).write_text(f"{done} {found}")

    def receive(self, running: Iterable[int]) -> Iterable[Sequence[int]]:
        for number in running:
            with suppress(OSError, ValueError):  # nothing is written yet
                done, found = map(int, (self.folder / str(number)).read_text().split())
                yield number, done, found


@dataclass(frozen=True)
class Call:
    """Jobs for another process, which loads what does them once, and tells `channel` how far they are.

    Attributes:
        load: Pickled, the function that returns what does jobs.
        folder: What paths are relative to.
        anywhere: What is made goes to a URL, and a node need not have that folder.
        group: Where several processes do it together: the backend, the URL where they meet, and how many they are.
    """

    load: bytes
    unit: str
    keys: tuple[Any, ...]
    number: int
    channel: Channel
    threads: int
    folder: str
    anywhere: bool
    group: tuple[str, str, int] | None = None
    rank: int = 0

    def __call__(self) -> float | GenrobustError:
        """Do them; return their seconds without loading, or how they failed."""
        try:
            with suppress(OSError) if self.anywhere else nullcontext():
                os.chdir(self.folder)
            set_threads(worker_environment(self.threads))
            with self._together():
                return self._do()
        except Exception as error:
            return failure_of(error)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Connect this process with the others, for the block."""
        if self.group is None:
            yield
            return
        from torch import distributed

        backend, url, size = self.group
        patience = timedelta(seconds=PATIENCE_S)
        distributed.init_process_group(backend, url, patience, size, self.rank)
        yield
        distributed.destroy_process_group()  # after a failure, that would wait for the others

    def _do(self) -> float:
        done = found = 0
        reported_at = 0.0

        def count(more: int, note: str | None, reused: bool) -> None:
            nonlocal done, found, reported_at
            done, found = done + more, found + (more if reused else 0)
            if self.rank == 0 and time.monotonic() - reported_at > REPORT_EVERY_S:
                self.channel.send(self.number, done, found)
                reported_at = time.monotonic()

        do = loaded(self.load)
        began = time.monotonic()
        with counting(self.unit, count):
            do(self.keys)
        return time.monotonic() - began


def set_threads(variables: Mapping[str, str]) -> None:
    """Set the environment `variables` of a worker in this process, whose torch may have read them already."""
    os.environ.update(variables)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(int(variables["OMP_NUM_THREADS"]))


@lru_cache(maxsize=1)
def loaded(load: bytes) -> DoJobs:
    """Return what `load` loads, which stays in this process for its next call.

    No file is unpickled: these bytes are the command's own, from its memory.
    """
    do: DoJobs = pickle.loads(load)()
    return do


class Progress:
    """How far the calls are that other processes do, shown by `bar`."""

    def __init__(self, bar: Bar, channel: Channel) -> None:
        self._bar, self._channel = bar, channel
        self._last, self._done, self._found = 0, 0, 0  # number, and what is shown
        self._sizes: dict[int, int] = {}  # of those that are running
        self._counts: dict[int, tuple[int, int]] = {}  # done and found, of all that did not fail

    def begin(self, size: int) -> int:
        """Return the number of a call of this size that begins."""
        self._last += 1
        self._sizes[self._last] = size
        return self._last

    def ended(self, number: int, failed: bool = False) -> None:
        """Count a call as done, or take back what was counted of one that `failed`."""
        size, (_, found) = self._sizes.pop(number), self._counts.pop(number, (0, 0))
        if not failed:
            self._counts[number] = size, found
        self._show()

    def update(self) -> None:
        """Show how far all of them are."""
        for number, done, found in self._channel.receive(self._sizes):
            if (size := self._sizes.get(number)) is not None:
                self._counts[number] = min(done, size), min(found, size)
        self._show()

    def _show(self) -> None:
        done, found = (sum(counts) for counts in zip((0, 0), *self._counts.values(), strict=True))
        self._bar.advance(found - self._found, found=True)
        self._bar.advance(done - self._done - (found - self._found))
        self._done, self._found = done, found


Result = float | GenrobustError  # the seconds of a call, or how it failed
Share = tuple[Job, ...]


class Slot(ABC):
    """Where one call at a time is done: in one process, or in several that do it together.

    Attributes:
        tries: How often a share is begun in it.
    """

    tries: ClassVar[int] = TRIES

    @abstractmethod
    def start(self, call: Call) -> list[Future[Result]]:
        """Begin `call` in each of its processes."""

    @abstractmethod
    def why_ended(self, future: Future[Result], error: BaseException) -> GenrobustError:
        """Return how a call failed whose process returned nothing."""

    @abstractmethod
    def end(self) -> None:
        """End its processes at once, in the middle of what they do: all of it survives that."""

    def wait(self) -> None:  # noqa: B027, who has nothing to wait for need not say so
        """Wait until they have ended; the next call starts others."""

    def results(self, futures: Sequence[Future[Result]]) -> list[Result]:
        """Return the results that are there."""
        ended = [(future, future.exception()) for future in futures if future.done()]
        return [self.why_ended(future, error) if error else future.result() for future, error in ended]


def failed(error: BaseException) -> Future[Result]:
    """Return the future of a call that could not begin."""
    future: Future[Result] = Future()
    future.set_exception(error)
    return future


def backend_for(on_gpus: bool) -> str:
    """Return what averages the gradients: NCCL is for Linux alone, and Gloo averages on GPUs, too, if slowly."""
    return "nccl" if on_gpus and sys.platform == "linux" else "gloo"


class Workers(Local):
    """Other processes do the jobs: first those of one worker each, then those of several, one after another."""

    most_shares = sys.maxsize
    _threads: int

    @staticmethod
    def dumps(value: Any) -> bytes:
        """Pickle what a call needs."""
        return pickle.dumps(value)

    @abstractmethod
    def slots(self, work: Work, count: int, size: int = 1) -> Sequence[Slot]:
        """Return up to `count` slots for `work`, as many as there is room for, each of `size` processes."""

    @abstractmethod
    def channel(self) -> AbstractContextManager[Channel]:
        """Open what workers report to."""

    def starting(self) -> AbstractContextManager[None]:
        """Return a block in which calls are started."""
        return nullcontext()

    def look(self, futures: Sequence[Future[Result]]) -> None:
        """Wait a moment for one of `futures`."""
        wait(futures, LOOK_EVERY_S, FIRST_COMPLETED)

    def run(self, work: Work) -> None:
        """Do all of `work`; a job whose worker dies or runs out of memory is tried again.

        Raises:
            UserError, GenrobustError: A job failed, which ends the work, or its workers died in all its tries, which
                is reported when the others are done. What had started resumes in a later run.
        """
        if work.alone or not work.jobs:
            Local().run(work)
            return
        for job in work.jobs:
            self.require(job.workers)
        single = replace(work, jobs=[job for job in work.jobs if job.workers == 1])
        with (
            progress_bar(work.what, work.size, work.unit) as bar,
            self.channel() as channel,
        ):
            progress = Progress(bar, channel)
            call = Call(self.dumps(work.load), work.unit, (), 0, channel, self._threads, str(Path.cwd()), mirrors())
            shares = single.shares(self.workers(), self.most_shares)
            failed = self._hand_out(work, shares, self.slots(work, len(shares)), call, progress)
            for job in work.jobs:
                if job.workers > 1:
                    failed += self._hand_out(work, [(job,)], self.slots(work, 1, job.workers), call, progress)
        if failed:
            raise GenrobustError(
                f"{work.what}: {len(failed)} of the jobs failed:\n{some_of(failed, LISTED, NEW_LINE)}\n"
                "completed jobs are kept: rerun to do the others"
            )

    def _hand_out(
        self, work: Work, shares: Sequence[Share], slots: Sequence[Slot], call: Call, progress: Progress
    ) -> list[str]:
        """Do `shares` in `slots`; return a line for each job that failed in all its tries."""
        waiting, idle = deque((share, 1) for share in shares), deque(slots)
        running: dict[Slot, tuple[list[Future[Result]], Share, int, int]] = {}
        failed: list[str] = []
        try:
            while waiting or running:
                with self.starting() if waiting and idle else nullcontext():
                    while waiting and idle:
                        slot, (share, tries) = idle.popleft(), waiting.popleft()
                        number, keys = progress.begin(sum(job.size for job in share)), tuple(job.key for job in share)
                        running[slot] = slot.start(replace(call, keys=keys, number=number)), share, tries, number
                self.look([future for futures, *_ in running.values() for future in futures if not future.done()])
                progress.update()
                for slot, (futures, share, tries, number) in list(running.items()):
                    results = slot.results(futures)
                    if any(isinstance(result, GenrobustError) for result in results) and len(futures) > 1:
                        wait(futures, GRACE_S)
                        results = slot.results(futures)
                    failures = [result for result in results if isinstance(result, GenrobustError)]
                    if not failures and len(results) < len(futures):
                        continue
                    del running[slot]
                    idle.append(slot)
                    progress.ended(number, failed=bool(failures))
                    if not failures:
                        work.ended(share, max(result for result in results if isinstance(result, float)))
                        continue
                    failure = root_cause(failures)
                    slot.end()  # the process itself may be at fault, such as by memory that it does not give back
                    slot.wait()
                    if not isinstance(failure, BadLuck):
                        raise failure
                    if tries < slot.tries:
                        log.warning("%s: %s; it is tried again", share[0].name, failure)
                        waiting.append((share, tries + 1))
                    else:
                        failed += [f"  {job.name}: {failure} (tries: {TRIES})" for job in share]
        finally:
            for slot in slots:
                slot.end()  # first all of them: an interrupt may cut the waiting short
            for slot in slots:
                slot.wait()
        return failed
