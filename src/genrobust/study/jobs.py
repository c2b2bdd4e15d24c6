"""Independent jobs of work: what they are is a stage's business, and where they are done an executor's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from genrobust.recipe import Recipe

DoJobs = Callable[[Sequence[Any]], None]  # does the jobs of these keys, in order


@dataclass(frozen=True, slots=True)
class Job:
    """A job of work that waits for no other; done again, or after a kill, it comes to the same.

    Attributes:
        key: What is handed to the function that does it.
        name: What the user is told.
        size: How much is left of it, in the unit of its work; 0 where it is done.
        rate_key: What its rate depends on (see `rates`).
        workers: How many processes do it together, each of them handed the key.
        row: What it is listed under, together with others; "" for its own name.
        folder: Where its result lies, or will lie; named after its inputs.
        total: How much it is in all, in `unit`, of which each is `each` in the unit of the work.
    """

    key: Any
    name: str
    size: int
    rate_key: str = ""
    workers: int = 1
    row: str = ""
    folder: Path | None = None
    total: int = 0
    unit: str = "images"
    each: int = 1


@dataclass(frozen=True, slots=True)
class Work:
    """Pieces of one kind. `what` is shown beside their progress, which counts `unit`.

    `load` is called once in each process that does some of them, and returns what does; to get there it is pickled.
    `together` says that many jobs in one go cost less than one by one: each worker then gets its share at once.
    `seconds` is how long all of them were estimated to take, None where that is not known; `memory` is how many bytes a
    worker takes for what it loads, where that is more than a small network.
    """

    what: str
    jobs: Sequence[Job]
    load: Callable[[], DoJobs]
    unit: str = "images"
    together: bool = False
    seconds: float | None = None
    memory: int = 0

    @property
    def size(self) -> int:
        """How much all jobs are, in `unit`."""
        return sum(job.size for job in self.jobs)


class Executor(Protocol):
    """Does jobs of work in this process or in others; `here` says that all of them run on this machine."""

    here: bool

    def placed(self, recipe: Recipe, say: Callable[[str], None] = ...) -> Recipe:
        """Return `recipe` with the device and the precisions that its work will find, without any `auto` among these.

        `say` gets the lines of `precision.settle`. Raises UserError where there is no such device.
        """

    def require(self, workers: int) -> None:
        """Raise UserError where a job can never be done by so many `workers` together."""

    def workers(self) -> int:
        """How many jobs are done at the same time."""

    def run(self, work: Work) -> None:
        """Do all of `work`; raises UserError for a mistake of the user's, GenrobustError for what could not be done."""
