"""What the stages of a study took, for its report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from genrobust.core import StageRecord
from genrobust.study.jobs import Executor, Work
from genrobust.study.rates import estimate, tidy_rates


class StageTimes:
    """The time of each stage, summed over its blocks; `out` is the study's folder."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._stages: dict[str, StageRecord] = {}

    @property
    def records(self) -> tuple[StageRecord, ...]:
        """One record a stage, in the order in which the stages began."""
        return tuple(self._stages.values())

    @contextmanager
    def timed(self, stage: str, unit: str, count: int) -> Iterator[None]:
        """Time a block of `stage` that makes `count` items, in `unit`; for 0, all of them are found done."""
        tidy_rates(self._out)
        began = time.monotonic()
        yield
        spent = time.monotonic() - began if count else 0.0
        before = self._stages.get(stage, StageRecord(stage, 0.0, 0, unit, True))
        items, reused = before.items + count, before.reused and not count
        self._stages[stage] = StageRecord(stage, before.seconds + spent, items, unit, reused)

    def run(self, executor: Executor, stage: str, unit: str, work: Work) -> None:
        """Let `executor` do `work`, with an estimate of its time, and keep its time under `stage`."""
        jobs = [(job.size, job.rate_key) for job in work.jobs]
        with self.timed(stage, unit, work.size):
            executor.run(replace(work, seconds=estimate(self._out, stage, jobs, executor.workers())))
