"""Times of the stages of a study, and how fast one worker of each was on this machine: the source of estimates."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from genrobust.core import (
    StageRecord,
    has_seal,
    leftovers,
    lock,
    make_folder,
    remove_leftovers,
    replacing,
    sealed,
    unsealed,
)
from genrobust.study.jobs import Executor, Job, Work

RATES = "rates.json"


@dataclass
class Made:
    """How many images a block makes, which it may correct: those that it finds give no rate."""

    count: int


@contextmanager
def measured(out: Path, stage: str, rate_key: str, count: int) -> Iterator[Made]:
    """Remember the rate at which the block makes `count` images; for 0 of them, which give no rate, nothing."""
    made, began = Made(count), time.monotonic()
    yield made
    if made.count:
        remember_rate(out, stage, rate_key, made.count / (time.monotonic() - began))


def remember_rate(out: Path, stage: str, rate_key: str, per_second: float) -> None:
    """Save the rate of a worker or group of `stage` in the folder `out`: images `per_second` of kind `rate_key`."""
    with _held(out) as rates:
        rates.setdefault(stage, {})[rate_key] = per_second


def measured_once(out: Path, stage: str, rate_key: str, measure: Callable[[], float]) -> float:
    """Return what is kept in `out` as a rate is, or what `measure` finds, for which other processes wait."""
    with _held(out) as rates:
        kept = rates.setdefault(stage, {})
        if rate_key not in kept:
            kept[rate_key] = measure()
        return kept[rate_key]


@contextmanager
def _held(out: Path) -> Iterator[dict[str, dict[str, float]]]:
    """Hold the rates in `out`, which are this machine's, and write what the block makes of them.

    Where a file of the user's has their name, they are not kept.
    """
    make_folder(out)
    with lock(out, wait=True):
        rates = _read(out)
        yield rates
        if not (out / RATES).exists() or has_seal(out / RATES):
            with replacing(out / RATES, mirrored=False) as file:
                file.write(sealed(dict(sorted(rates.items()))))


def measured_rate(out: Path, stage: str, rate_key: str) -> float | None:
    """Return the images a second of a worker or group, as last measured in `out`; None before the first."""
    return _read(out).get(stage, {}).get(rate_key)


def estimate(out: Path, stage: str, jobs: Sequence[Job], workers: int) -> float | None:
    """Return the seconds in which so many `workers` of `stage` do what is left of `jobs`; None where a rate is unknown.

    The longest goes first, each to the worker that is free first; those that several do together come one by one.
    """
    rates = {job.rate_key: measured_rate(out, stage, job.rate_key) for job in jobs}
    known = {rate_key: rate for rate_key, rate in rates.items() if rate}
    if len(known) < len(rates):
        return None
    busy = [0.0] * workers
    single, together = ([job for job in jobs if (job.workers > 1) is several] for several in (False, True))
    for seconds in sorted((job.left / known[job.rate_key] for job in single), reverse=True):
        heapq.heapreplace(busy, busy[0] + seconds)
    return max(busy) + sum(job.left / known[job.rate_key] for job in together)


def _read(out: Path) -> dict[str, dict[str, float]]:
    try:
        found = unsealed((out / RATES).read_bytes())
        rates = {stage: {of: float(rate) for of, rate in of_stage.items()} for stage, of_stage in found.items()}
        return {stage: {of: r for of, r in of_stage.items() if 0 < r < math.inf} for stage, of_stage in rates.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # none yet, or damaged: it only estimates times


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
        if leftovers(self._out):  # of a process that was killed while it saved a rate
            with lock(self._out, wait=True):
                remove_leftovers(self._out, names=(RATES,))
        began = time.monotonic()
        yield
        spent = time.monotonic() - began if count else 0.0
        before = self._stages.get(stage, StageRecord(stage, 0.0, 0, unit, True))
        items, reused = before.items + count, before.reused and not count
        self._stages[stage] = StageRecord(stage, before.seconds + spent, items, unit, reused)

    def run(self, executor: Executor, stage: str, unit: str, work: Work) -> None:
        """Let `executor` do `work`, with an estimate of its time, and keep its time under `stage`."""
        with self.timed(stage, unit, work.size):
            workers = 1 if work.alone else executor.workers()
            executor.run(replace(work, seconds=estimate(self._out, stage, work.jobs, workers)))
