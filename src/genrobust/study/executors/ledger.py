"""The books of work that others do: what waits, what was tried where, and what failed for good."""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from genrobust.core import DiskFull, GenrobustError, UserError
from genrobust.study.jobs import Job

TRIES = 3  # of a job, each on a node where it has not failed yet, if there is one
HOPELESS = 10  # failures in a row, or two a worker: not the jobs are at fault, but a full shared disk, for instance
LISTED = 20  # failed jobs, in a message
NO_MEMORY = ("OutOfMemoryError: ", "can't allocate memory")  # torch's words on a GPU, and on a CPU
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a try ended: `error` is what to tell the user, "" where the job is done, and `trace` where it came from.

    Errors travel as text: not every exception survives pickling. `again` says that another try may end otherwise.
    """

    error: str = ""
    kind: type[GenrobustError] = GenrobustError
    trace: str = ""
    again: bool = False

    def raised(self) -> GenrobustError:
        """The error itself, to be raised here."""
        error = self.kind(self.error)
        error.__cause__ = FarTraceback(self.trace)
        return error


def outcome_of(error: Exception) -> Outcome:
    """How a try ended that raised `error`."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, GenrobustError):
        kind = next(kind for kind in (UserError, DiskFull, GenrobustError) if isinstance(error, kind))
        return Outcome(str(error), kind, trace)
    if found_no_memory(error):
        return Outcome(
            f"no memory left on its device or node ({' '.join(str(error).split())[:200]}): lower batch_size, or let "
            "fewer workers share it, by --workers or by a higher execute.num_cpus or num_gpus",
            trace=trace,
            again=True,
        )
    return Outcome(f"unexpected {type(error).__name__}: {error}", trace=trace)


def found_no_memory(error: Exception) -> bool:
    """Whether `error` says that memory did not suffice."""
    text = f"{type(error).__name__}: {error}"
    return isinstance(error, MemoryError) or any(sign in text for sign in NO_MEMORY)


class FarTraceback(Exception):
    """The traceback of another process, as the cause of an error."""

    def __str__(self) -> str:
        return f"in another process:\n{self.args[0]}"


@dataclass
class Task:
    """A job and what became of it: its tries, the nodes where they failed, the last of them."""

    job: Job
    tries: int = 0
    nodes: set[str] = field(default_factory=set)
    last: Outcome = Outcome()


class Ledger:
    """What becomes of `jobs`, which so many `workers` do; `what` is told of them."""

    def __init__(self, what: str, jobs: Sequence[Job], workers: int) -> None:
        self._what = what
        self._hopeless = max(HOPELESS, 2 * workers)  # a node of many that dies takes all its workers with it
        self.waiting = deque(Task(job) for job in jobs)
        self._failed: list[Task] = []
        self._in_a_row = 0

    def add(self, jobs: Sequence[Job]) -> None:
        """Take more jobs into the books, behind those that wait."""
        self.waiting.extend(Task(job) for job in jobs)

    def next_for(self, node: str, nodes: Collection[str]) -> Task | None:
        """What a worker on `node` should try, of all `nodes` with workers; None where the others should."""
        for task in self.waiting:
            if node not in task.nodes or task.nodes.issuperset(nodes):
                self.waiting.remove(task)
                return task
        return None

    def tried(self, task: Task, node: str, outcome: Outcome) -> None:
        """Note how a try of `task` on `node` ended; raises UserError where that is the user's mistake.

        Raises GenrobustError as `failure` does.
        """
        task.last = outcome
        if not outcome.error:
            self._in_a_row = 0
            return
        if outcome.kind is UserError:
            raise outcome.raised()
        task.tries += 1
        task.nodes.add(node)
        if task.tries < TRIES:
            log.warning("%s: %s; it is tried again", task.job.name, outcome.error)
            self.waiting.append(task)
        else:
            self._failed.append(task)
        self.failure(outcome.error)

    def failure(self, why: str) -> None:
        """Count a failure, of a job or of a worker that has none yet; raises GenrobustError for too many in a row."""
        self._in_a_row += 1
        if self._in_a_row >= self._hopeless:
            self.close(f"stopped after {self._in_a_row} failures in a row, the last of them: {why}")

    def close(self, stopped: str = "") -> None:
        """Raise GenrobustError, a DiskFull where all was that, that tells each failed job; not where none is."""
        failed = [*self._failed, *(task for task in self.waiting if task.tries)]
        if not (failed or stopped):
            return
        lines = [stopped] if stopped else []
        if failed:
            lines.append(f"{self._what}: {len(failed)} of the jobs failed:")
            lines += [f"  {t.job.name}: {t.last.error} (tries: {t.tries})" for t in failed[:LISTED]]
            lines += [f"  and {len(failed) - LISTED:,} more"] if len(failed) > LISTED else []
        lines.append("what is done is kept: run the same command again, and the rest is made")
        kind = DiskFull if {task.last.kind for task in failed} == {DiskFull} else GenrobustError
        raise kind("\n".join(lines)) from FarTraceback(failed[-1].last.trace if failed else stopped)
