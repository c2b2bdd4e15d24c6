"""What a process elsewhere does with a job: it loads once, counts what it makes, and says how it failed."""

from __future__ import annotations

import gc
import json
import logging
import os
import pickle
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from genrobust.core import (
    Bar,
    Busy,
    DiskFull,
    GenrobustError,
    OutOfMemory,
    UserError,
    counting,
    is_out_of_memory,
    one_line,
    refusal,
)
from genrobust.study.executors.jobs import DoJobs, Job

TRIES = 3  # of a job
LOOK_EVERY_S = 0.5  # at the progress
REPORT_EVERY_S = 0.2  # of the progress
PATIENCE_S = 7 * 24 * 3600  # of processes that train together, for each other: one validates for long
LISTED = 20  # failed jobs, in a message
COUNT = struct.Struct("qq")  # of a file of progress
log = logging.getLogger(__name__)


class BadLuck(GenrobustError):
    """A failure that another process may not have: this one died, or found no memory."""


class Unexpected(GenrobustError):
    """A failure that is none of genrobust's own."""


KINDS = {kind.__name__: kind for kind in (Busy, UserError, DiskFull, BadLuck, Unexpected, GenrobustError)}


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


Report = Callable[[Counted], None]  # takes how far a job is


def failure_of(error: BaseException) -> GenrobustError:
    """Return how a job that raised `error` failed, as an error that can be pickled, with the traceback as its note."""
    if isinstance(error, OutOfMemory):
        failure: GenrobustError = BadLuck(str(error))
    elif isinstance(error, GenrobustError):
        failure = next(kind for kind in KINDS.values() if isinstance(error, kind))(str(error))
    elif isinstance(error, OSError) and isinstance(error.filename, str) and error.strerror:
        failure = refusal(Path(error.filename), error, "use")
    elif is_out_of_memory(error):
        failure = BadLuck(
            f"no memory left on its device or node ({one_line(error)}): lower batch_size, or let "
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


def raise_failed(title: str, failed: Sequence[tuple[Job, GenrobustError]]) -> None:
    """Raise a GenrobustError that lists the `failed` jobs, if there are any; a DiskFull where all of them were."""
    if not failed:
        return
    lines = [f"{title}: {len(failed)} of the jobs failed:"]
    lines += [f"  {job.name}: {failure} (tries: {TRIES})" for job, failure in failed[:LISTED]]
    lines += [f"  and {len(failed) - LISTED:,} more"] if len(failed) > LISTED else []
    lines.append("completed jobs are kept: rerun to do the others")
    kind = DiskFull if all(isinstance(failure, DiskFull) for _, failure in failed) else GenrobustError
    raise kind("\n".join(lines)) from failed[-1][1]


def has_more_tries(share: Sequence[Job], tries: int, failure: GenrobustError) -> bool:
    """Return whether jobs are to be tried again; raise a `failure` that others would have too."""
    if not isinstance(failure, BadLuck):
        raise failure
    if tries < TRIES:
        log.warning("%s: %s; it is tried again", share[0].name, failure)
    return tries < TRIES


class Shown:
    """The progress of jobs that other processes do, which `read` returns by their numbers, shown by `bar`."""

    def __init__(self, bar: Bar, read: Callable[[], Mapping[int, Counted]]) -> None:
        self._bar, self._read, self._last = bar, read, 0
        self._sizes: dict[int, int] = {}  # of what is being done
        self._done, self._shown = Counted(), Counted()

    def begin(self, size: int) -> int:
        """Return the number of something of this size that begins."""
        self._last += 1
        self._sizes[self._last] = size
        return self._last

    def ended(self, number: int) -> None:
        """Count something as done."""
        size = self._sizes.pop(number)
        self._done = self._done.plus(Counted(size, self._read().get(number, Counted()).within(size).found))
        self.update()

    def failed(self, number: int) -> None:
        """Take back what was counted of something."""
        del self._sizes[number]

    def update(self) -> None:
        """Show how far all of them are."""
        made, counts = self._done, self._read()
        for number in self._sizes.keys() & counts.keys():
            made = made.plus(counts[number].within(self._sizes[number]))
        before, self._shown = self._shown, made
        reused = made.found - before.found
        self._bar.advance(reused, found=True)
        self._bar.advance(made.done - before.done - reused)

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Keep showing it while the block waits for something."""
        ended = threading.Event()

        def repeat() -> None:
            while not ended.wait(LOOK_EVERY_S):
                self.update()

        thread = threading.Thread(target=repeat, name="progress of workers", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def read_counts(folder: Path) -> dict[int, Counted]:
    """Return how far the jobs are whose workers count in `folder`."""
    counts = {}
    for path in folder.iterdir():
        with suppress(struct.error):  # nothing is counted yet
            counts[int(path.name)] = Counted(*COUNT.unpack(path.read_bytes()))
    return counts


def write_count(file: Path, counted: Counted) -> None:
    """Write in `file` how far a job is, which `read_counts` reads."""
    file.touch()
    with file.open("r+b", buffering=0) as written:  # not "wb", which would empty it for whoever reads it now
        written.write(COUNT.pack(*counted))


def set_threads(variables: Mapping[str, str]) -> None:
    """Set the environment `variables` of a worker in this process, whose torch may have read them already."""
    os.environ.update(variables)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(int(variables["OMP_NUM_THREADS"]))


def do_jobs(load: bytes, unit: str, keys: Sequence[Any], report: Report) -> float:
    """Do the jobs of `keys` with what `load` loads, which stays for the next; return the seconds without loading.

    Raises:
        Exception: Whatever a job raises.
    """
    counted, reported_at = Counted(), 0.0

    def count(more: int, note: str | None, reused: bool) -> None:
        nonlocal counted, reported_at
        counted = Counted(counted.done + more, counted.found + (more if reused else 0))
        if time.monotonic() - reported_at > REPORT_EVERY_S:
            report(counted)
            reported_at = time.monotonic()

    do = _loaded(load)
    began = time.monotonic()
    with counting(unit, count):
        do(keys)
    return time.monotonic() - began


def _loaded(load: bytes) -> DoJobs:
    last = _last()
    if last.get("load") != load:
        last.clear()
        gc.collect()  # before the next is loaded: a GPU rarely has room for both
        # No file is unpickled: these bytes are the command's own, from its memory.
        last["do"] = pickle.loads(load)()
        last["load"] = load
    do: DoJobs = last["do"]
    return do


@cache
def _last() -> dict[str, Any]:
    """What this process has loaded, and from which bytes."""
    return {}


class Member(NamedTuple):
    """A process's place among `size` that do a job together, the first of rank 0, with a folder that they share."""

    rank: int
    size: int
    folder: Path
    backend: str

    def meet(self) -> None:
        """Connect this process with the others."""
        from torch import distributed

        patience = timedelta(seconds=PATIENCE_S)
        store = distributed.FileStore(str(self.folder / "meeting"), self.size)
        store.set_timeout(patience)  # NCCL meets at its first sum, for which the first may pack images for long
        distributed.init_process_group(
            self.backend, store=store, rank=self.rank, world_size=self.size, timeout=patience
        )

    def leave(self) -> None:
        """Leave the others, who are done, too; after a failure, that would wait for them."""
        from torch import distributed

        distributed.destroy_process_group()

    def failed(self, error: BaseException) -> None:
        """Leave a note of how this process failed, which `failure` reads."""
        failure = failure_of(error)
        note = {"kind": type(failure).__name__, "text": str(failure), "notes": failure.__notes__}
        self._note.write_text(json.dumps(note), encoding="utf-8")

    def failure(self) -> GenrobustError | None:
        """Return how this process failed; None if it did not, or died."""
        if not self._note.exists():
            return None
        note = json.loads(self._note.read_text(encoding="utf-8"))
        failure = KINDS[note["kind"]](note["text"])
        for line in note["notes"]:
            failure.add_note(line)
        return failure

    @property
    def _note(self) -> Path:
        return self.folder / f"failure-{self.rank}.json"
