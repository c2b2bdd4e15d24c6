"""A stage of a study: it lists its jobs, done or not, loads what does them, and has them done in its turn."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from genrobust.core import GenrobustError, count, set_threads
from genrobust.study.context import Context, Rebuilt
from genrobust.study.estimates import Cost, Rates, estimate
from genrobust.study.executors.jobs import DoJobs, Job, Work
from genrobust.study.provenance import require_same_makers

NOT_SHARED = "choose an --out on a disk that all nodes share, under the same path, or a URL"


class Stage(Rebuilt, ABC):
    """Jobs of one kind that wait for those of the stages in `needs`, and not for each other.

    Every job's folder is named after a hash of its inputs, so that `jobs` lists all of them, and which are done, before
    anything is made.

    Attributes:
        name: What its rates and its time are kept under.
        title: What its progress is called.
        items: What it makes, in the report's table of times.
        together: Whether many jobs in one go cost less than one by one.
        unit: What the sizes of its jobs count.
    """

    name: str
    title: str
    items: ClassVar[str] = "images"
    together: ClassVar[bool] = False
    unit: ClassVar[str] = "images"
    _not_pickled: ClassVar[Collection[str]] = ("needs",)  # it is done before workers begin

    def __init__(self, context: Context, needs: Sequence[Stage] = ()) -> None:
        self.context, self.needs = context, tuple(needs)

    @abstractmethod
    def jobs(self) -> list[Job]:
        """Return all jobs, those that are done with a size of 0."""

    @abstractmethod
    def load(self) -> DoJobs:
        """Load what does jobs; called once in each process that does some."""

    @abstractmethod
    def cost(self, job: Job) -> Cost:
        """Return what `job` takes, by which its time is estimated and its rate kept."""

    def artifacts(self, job: Job) -> list[Path]:
        """Return the folders of what `job` makes."""
        return [] if job.folder is None else [job.folder]

    def announce(self, jobs: Sequence[Job]) -> None:
        """Log what begins, before `jobs` are done."""
        del jobs

    def memory(self) -> int:
        """Return the bytes that a worker takes for what it loads, where that is more than a small network; 0 else."""
        return 0

    @property
    def alone(self) -> bool:
        """Whether the command's own process does all jobs."""
        return False

    @property
    def threads(self) -> int:
        """The CPU threads of a worker."""
        return self.context.recipe.threads

    @property
    def worker(self) -> str:
        """The part of every rate's key beside the job: "cpu, 1 thread", the device and the threads of a worker."""
        return f"{self.context.device}, {count(self.threads, 'thread')}"

    @property
    def workers(self) -> int:
        """How many jobs run at the same time."""
        return 1 if self.alone else self.context.executor.workers()

    def order(self) -> list[Stage]:
        """Return the stages that this one needs, directly or not, each before those that need it, and itself last."""
        stages: list[Stage] = []
        for stage in self.needs:
            stages += [s for s in stage.order() if s not in stages]
        return [*stages, self]

    def run(self) -> None:
        """Do what is missing of this stage and of all that it needs."""
        for stage in self.order():
            stage.work()

    def work(self) -> None:
        """Do the missing jobs of this stage alone.

        Raises:
            UserError: Other versions began a job; or one needs more workers together.
            GenrobustError: Their results are not found afterwards.
        """
        todo = [job for job in self.jobs() if job.size]
        for folder in dict.fromkeys(folder for job in todo for folder in self.artifacts(job)):
            require_same_makers(folder)
        if todo:
            self.context.executor.require(max(job.workers for job in todo))
            self.announce(todo)
        self.do(todo)
        if todo and (lost := [job for job in self.jobs() if job.size]):
            raise GenrobustError(
                f"{lost[0].name} was made, but is not in {lost[0].folder}: {NOT_SHARED}; if images changed, rerun"
            )

    def do(self, todo: Sequence[Job]) -> None:
        """Let the executor do the jobs `todo`, and keep their time."""
        memory = self.memory() if todo else 0
        work = Work(self.title, todo, self._load, self.unit, self.together, memory, self.alone, self.keep_rate)
        with self.context.times.timed(self.name, self.items, sum(job.left for job in todo)):
            self.context.executor.run(work)

    def _load(self) -> DoJobs:
        """Load what does jobs with the threads of a worker, in whichever process that is."""
        do_jobs = self.load()
        if not self.alone:
            set_threads(self.threads)
        return do_jobs

    def seconds(self, jobs: Sequence[Job]) -> float | None:
        """Return the seconds in which its workers do what is left of `jobs`; None where a rate is not known."""
        rates = [(job, Rates(self.context.out).known(self.name, self.worker, self.cost(job))) for job in jobs]
        return estimate(rates, self.workers)

    def keep_rate(self, jobs: Sequence[Job], seconds: float) -> None:
        """Keep the rate at which one worker did `jobs`, for their kind and for any kind, where all have the same."""
        costs = [self.cost(job) for job in jobs]
        amount = sum(job.left * cost.amount / job.workers for job, cost in zip(jobs, costs, strict=True))
        for same in {frozenset(keys) for keys in zip(*(cost.keys(self.worker) for cost in costs), strict=True)}:
            if len(same) == 1 and amount > 0 and seconds > 0:
                Rates(self.context.out).remember(self.name, next(iter(same)), amount / seconds)


@dataclass(frozen=True, slots=True)
class Row:
    """Jobs of a stage that are listed together: how much of them is `done` of `total`, in `unit`."""

    stage: Stage
    name: str
    jobs: tuple[Job, ...]

    @property
    def total(self) -> int:
        return sum(job.total for job in self.jobs)

    @property
    def done(self) -> int:
        return sum(job.total - math.ceil(job.left / job.each) for job in self.jobs)

    @property
    def unit(self) -> str:
        return self.jobs[0].unit

    @property
    def left(self) -> list[Job]:
        """The jobs that are not done."""
        return [job for job in self.jobs if job.size]


def rows(stages: Sequence[Stage]) -> Iterator[Row]:
    """Yield what `stages` do, in their order; a job that two of them list comes once."""
    seen: set[tuple[str, Path | None, object]] = set()
    for stage in stages:
        listed: dict[str, list[Job]] = {}
        for job in stage.jobs():
            if (stage.name, job.folder, job.key) not in seen:
                seen.add((stage.name, job.folder, job.key))
                listed.setdefault(job.row or job.name, []).append(job)
        yield from (Row(stage, name, tuple(jobs)) for name, jobs in listed.items())


def seconds_left(rows: Sequence[Row]) -> tuple[float, bool]:
    """Return the seconds that `rows` take, and whether there are more whose rate is not known yet."""
    total, unknown = 0.0, False
    for stage, of_stage in groupby(rows, key=lambda row: row.stage):
        seconds = stage.seconds([job for row in of_stage for job in row.left])
        total, unknown = total + (seconds or 0.0), unknown or seconds is None
    return total, unknown


def disk(rows: Sequence[Row]) -> int:
    """Return about how many bytes the results of `rows` will take."""
    return round(sum(row.stage.cost(job).disk for row in rows for job in row.left))
