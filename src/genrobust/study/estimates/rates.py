"""Times of the stages of a study, and how fast one worker of each was on this machine: the source of estimates."""

from __future__ import annotations

import heapq
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genrobust.core import (
    FLOAT32,
    StageRecord,
    leftovers,
    lock,
    make_folder,
    parse_json,
    remove_leftovers,
    replacing,
)
from genrobust.study.executors.jobs import Job

RATES = "rates.json"
OURS = "genrobust_rates"  # the one key of that file
MACHINE = "machine"  # what the speed of a worker is kept under, beside the stages


@dataclass(frozen=True, slots=True)
class Cost:
    """What a job takes.

    Attributes:
        amount: Of one item, in the unit of its work: billions of multiply-adds as small convolutions do them.
        precision: What most of it computes in.
        of: Where `amount` is comparable only among jobs like it, such as those of one generator, their name. Their rate
            is known once one of them ran, and not from the machine's speed.
        disk: The bytes of what it makes.
        beside: The bytes that lie beside that while it runs.
    """

    amount: float
    precision: str = FLOAT32
    of: str = ""
    disk: float = 0
    beside: float = 0

    def key(self, worker: str) -> str:
        """Return what its rate is kept under, on a `worker` as `Context.worker` says."""
        return ", ".join(filter(None, (self.of, self.precision, worker)))


def remember_rate(out: Path, stage: str, rate_key: str, per_second: float) -> None:
    """Save in `out` the rate of one worker of `stage`: what it does in a second of what `rate_key` says."""
    with _locked_rates(out) as rates:
        rates.setdefault(stage, {})[rate_key] = per_second


def measured_once(out: Path, stage: str, rate_key: str, measure: Callable[[], float]) -> float:
    """Return what is kept in `out` as a rate is, or what `measure` finds, for which other processes wait."""
    with _locked_rates(out) as rates:
        stage_rates = rates.setdefault(stage, {})
        if rate_key not in stage_rates:
            stage_rates[rate_key] = measure()
        return stage_rates[rate_key]


@contextmanager
def _locked_rates(out: Path) -> Iterator[dict[str, dict[str, float]]]:
    """Hold the rates in `out`, which are this machine's, and write what the block makes of them.

    Where a file of the user's has their name, they are not kept.
    """
    make_folder(out)
    with lock(out, wait=True):
        rates = _read_rates(out)
        yield rates
        if not (out / RATES).exists() or OURS.encode() in (out / RATES).read_bytes():
            with replacing(out / RATES) as file:
                file.write(json.dumps({OURS: dict(sorted(rates.items()))}, indent=1).encode())


def known_rate(out: Path, stage: str, worker: str, cost: Cost) -> float | None:
    """Return how many items of `cost` one worker of `stage` does in a second.

    By the last jobs of the stage in `out`, or else by the speed of this machine; None where neither is known. What
    costs nothing is done at once.
    """
    if not cost.amount:
        return math.inf
    rates = _read_rates(out)
    key = cost.key(worker)
    rate = rates.get(stage, {}).get(key, None if cost.of else rates.get(MACHINE, {}).get(key))
    return None if rate is None else rate / cost.amount


def estimate(rates: Sequence[tuple[Job, float | None]], workers: int) -> float | None:
    """Return the seconds in which so many `workers` do what is left of jobs; None where a rate is unknown.

    The longest goes first, each to the worker that is free first; those that several do together come one by one.

    Args:
        rates: The jobs, each with the items a second that one worker does of it.
    """
    if not all(rate for _, rate in rates):
        return None
    seconds = [(job.workers, job.left / (rate * job.workers)) for job, rate in rates if rate]
    busy = [0.0] * workers
    for each in sorted((each for together, each in seconds if together == 1), reverse=True):
        heapq.heapreplace(busy, busy[0] + each)
    return max(busy) + sum(each for together, each in seconds if together > 1)


def _read_rates(out: Path) -> dict[str, dict[str, float]]:
    try:
        stored = parse_json((out / RATES).read_bytes())[OURS]
        return {
            stage: {key: rate for key, value in rates.items() if 0 < (rate := float(value)) < math.inf}
            for stage, rates in stored.items()
        }
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
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
