"""Independent jobs: what they are is a stage's business, and where they are done an executor's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DoJobs = Callable[[Sequence[Any]], None]  # does the jobs of these keys, in order


@dataclass(frozen=True, slots=True)
class Job:
    """A job that waits for no other, and makes the same result if repeated, even after a kill.

    Attributes:
        key: What its worker gets.
        name: What the user reads.
        size: How large it is, in the unit of its work; 0 where it is done.
        workers: How many processes do it together; each of them gets the key.
        row: What it is listed under, together with others; "" for its own name.
        folder: Where its result lies, or will lie; named after its inputs.
        total: Its full size in `unit`; one of these is `each` in the unit of the work.
        saved: How much of `total` it goes on from; 0 where it is done.
    """

    key: Any
    name: str
    size: int
    workers: int = 1
    row: str = ""
    folder: Path | None = None
    total: int = 0
    unit: str = "images"
    each: int = 1
    saved: int = 0

    @property
    def left(self) -> int:
        """How much of `total` is left, in the unit of its work: without what is done beside, such as a probe."""
        return min(self.size, (self.total - self.saved) * self.each)


@dataclass(frozen=True, slots=True)
class Work:
    """Jobs of one kind.

    Args:
        what: What they are, for the user.
        load: Returns the function that does them; pickled, and called once in each process that does some.
        unit: What their sizes and their progress count.
        together: Many jobs in one go cost less than one by one: each worker gets its share at once.
        memory: The bytes that a worker takes for what it loads, beyond those of a small network.
        alone: The command's own process does all of it: the work is elsewhere, such as on a server.
        ended: Called when jobs are done at the first try, with the seconds of their worker, without loading.
    """

    what: str
    jobs: Sequence[Job]
    load: Callable[[], DoJobs]
    unit: str = "images"
    together: bool = False
    memory: int = 0
    alone: bool = False
    ended: Callable[[Sequence[Job], float], None] = lambda jobs, seconds: None

    @property
    def size(self) -> int:
        """The size of all jobs, in `unit`."""
        return sum(job.size for job in self.jobs)

    def shares(self, workers: int, most: int = sys.maxsize) -> list[tuple[Job, ...]]:
        """Return what `workers` get, one after another: a job each, or `together` a share of all, or `most` shares."""
        count = min(workers if self.together else most, len(self.jobs))
        return [tuple(self.jobs[number::count]) for number in range(count)]
