"""Independent jobs: what they are is a stage's business, and where they are done an executor's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from genrobust.core import UserError
from genrobust.recipe import ExecuteConfig, Recipe, checked

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
        """How much of it is left, in the unit of its work."""
        return self.size - self.saved * self.each


@dataclass(frozen=True, slots=True)
class Work:
    """Jobs of one kind.

    Args:
        what: What they are, for the user.
        load: Returns the function that does them; pickled, and called once in each process that does some.
        unit: What their sizes and their progress count.
        together: Many jobs in one go cost less than one by one: each worker gets its share at once.
        seconds: The estimate for all of them; None where it is unknown.
        memory: The bytes that a worker takes for what it loads, beyond those of a small network.
        alone: The command's own process does all of it: the work is elsewhere, such as on a server.
        ended: Called when jobs are done, with the seconds of their worker, without loading.
    """

    what: str
    jobs: Sequence[Job]
    load: Callable[[], DoJobs]
    unit: str = "images"
    together: bool = False
    seconds: float | None = None
    memory: int = 0
    alone: bool = False
    ended: Callable[[Sequence[Job], float], None] = lambda jobs, seconds: None

    @property
    def size(self) -> int:
        """The size of all jobs, in `unit`."""
        return sum(job.size for job in self.jobs)

    def shares(self, workers: int) -> list[tuple[Job, ...]]:
        """Return what `workers` get, one after another: a job each, or `together` a share of all."""
        count = min(workers, len(self.jobs)) if self.together else len(self.jobs)
        return [tuple(self.jobs[number::count]) for number in range(count)]


class Executor(Protocol):
    """Does jobs in this process or in others; `here` says that all of them run on this machine."""

    here: bool

    def placed(self, recipe: Recipe, say: Callable[[str], None] = ...) -> Recipe:
        """Return `recipe` with the device and the precisions that its work will find, without any `auto` among these.

        `say` gets the lines of `choose_precisions`.

        Raises:
            UserError: There is no such device.
        """

    def require(self, workers: int) -> None:
        """Raise UserError where a job can never be done by so many `workers` together."""

    def workers(self) -> int:
        """Return how many jobs are done at the same time."""

    def prepare(self) -> None:
        """Begin to load what workers need, where there will be any: there are jobs to do soon."""

    def run(self, work: Work) -> None:
        """Do all of `work`.

        Raises:
            UserError: A job fails by a mistake of the user's.
            GenrobustError: A job cannot be done.
        """


class ExecutorConfig(ExecuteConfig, ABC):
    """A kind of executor, which ``execute.executor`` names: the section `execute` with the keys of the kind."""

    @abstractmethod
    def open(self, recipe: Recipe, out: Path) -> Executor:
        """Return an executor for the jobs of `recipe`, whose results go to `out`.

        Raises:
            UserError: It cannot run here, or nobody answers.
            MissingPackage: Its package is not installed.
        """


def open_executor(recipe: Recipe, out: Path, kind: str | None = None, **given: object) -> Executor:
    """Return the executor of `recipe`, or of another `kind`, with the keys `given`, None for those that are not.

    Raises:
        UserError: The kind is unknown or has no such key; or as for `ExecutorConfig.open`.
    """
    own = kind in (None, recipe.execute.executor)
    values: dict[str, object] = recipe.execute.model_dump() if own else {"executor": kind}
    options = {key: value for key, value in given.items() if value is not None}
    try:
        config = checked(ExecuteConfig, values | options, " ".join(f"--{key}" for key in options) or "execute")
    except ValueError as error:
        raise UserError(str(error)) from None
    assert isinstance(config, ExecutorConfig), (
        f"{type(config)} is registered as an executor and extends no ExecutorConfig"
    )
    return config.open(recipe, out)
