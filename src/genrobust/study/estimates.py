"""Estimates of time: the work of a job, divided by a rate that was measured on this machine."""

from __future__ import annotations

import heapq
import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from genrobust.core import (
    FLOAT32,
    GenrobustError,
    StageRecord,
    lock,
    make_folder,
    parse_json,
    remove_leftovers,
    replacing,
    set_threads,
)
from genrobust.recipe import TrainConfig
from genrobust.study.executors.jobs import Job

RATES = "rates.json"
OURS = "genrobust_rates"  # the one key of that file
MACHINE = "machine"  # what the speed of networks is kept under, beside the rates of stages
TRAIN = 3.0  # forward passes that a step of training costs: one forward, and two backward
MEASURED = ("resnet10t", 64, 16)  # the network whose training is measured, its pixels a side and its batch
SECONDS = 1.0  # of that


@dataclass(frozen=True, slots=True)
class Cost:
    """The work of a job.

    Attributes:
        amount: Of one item, in the unit of its work: billions of multiply-adds of a network, or any unit with `of`.
        precision: What most of it computes in.
        of: The name of the jobs among which `amount` can be compared, such as those of one generator: their rate is
            known after one of them ran. Without a name, it is known from the speed of the machine before.
        kind: What the rate depends on beside, such as the augmentation of a training. Before one of this kind ran, the
            rate of another kind is taken.
        disk: The bytes of its results.
    """

    amount: float
    precision: str = FLOAT32
    of: str = ""
    kind: str = ""
    disk: float = 0

    def keys(self, worker: str) -> tuple[str, str]:
        """Return the keys of its rate on a `worker`, as `Stage.worker` names it: of its kind, and of any kind."""
        key = ", ".join(filter(None, (self.of, self.precision, worker)))
        return ", ".join(filter(None, (self.kind, key))), key


class Rates:
    """The rates of the last jobs of each stage, and the speed of the machine, kept in the output folder `out`."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def known(self, stage: str, worker: str, cost: Cost) -> float | None:
        """Return how many items of `cost` one worker of `stage` does in a second; None if no rate is known."""
        if not cost.amount:
            return math.inf
        rates, (of_kind, key) = self._read(), cost.keys(worker)
        of_stage = {**({} if cost.of else rates.get(MACHINE, {})), **rates.get(stage, {})}
        rate = of_stage.get(of_kind, of_stage.get(key))
        return rate / cost.amount if rate else None

    def remember(self, stage: str, rate_key: str, per_second: float) -> None:
        """Save the rate of one worker of `stage`: the amount of `rate_key` that it does in a second."""
        with self._locked() as rates:
            rates.setdefault(stage, {})[rate_key] = per_second

    def once(self, name: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Return the numbers that are kept under `name`, or those of `measure`, for which other processes wait."""
        with self._locked() as rates:
            if name not in rates:
                rates[name] = measure()
            return rates[name]

    @contextmanager
    def _locked(self) -> Iterator[dict[str, dict[str, float]]]:
        """Hold the rates, and write what the block makes of them, but never over a user's file of that name.

        Nothing is kept where the disk is full, or the folder can only be read.
        """
        with ExitStack() as held:
            try:
                make_folder(self._out)
                held.enter_context(lock(self._out, wait=True))
            except GenrobustError:
                yield self._read()
                return
            remove_leftovers(self._out, names=(RATES,))  # of a process that was killed while it saved a rate
            rates, file_path = self._read(), self._out / RATES
            yield rates
            if not file_path.exists() or OURS.encode() in file_path.read_bytes():
                with suppress(GenrobustError), replacing(file_path) as file:
                    file.write(json.dumps({OURS: dict(sorted(rates.items()))}, indent=1).encode())

    def _read(self) -> dict[str, dict[str, float]]:
        try:
            stored = parse_json((self._out / RATES).read_bytes())[OURS]
            return {
                stage: {key: rate for key, value in rates.items() if 0 <= (rate := float(value)) < math.inf}
                for stage, rates in stored.items()
            }
        except (OSError, ValueError, AttributeError, TypeError, KeyError):
            return {}  # none yet, or damaged: it only estimates times


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


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """The number of parameters of a network, its billions of multiply-adds for an image, and its batch norms."""

    parameters: float
    multiply_adds: float
    batch_norms: float


def network_size(out: Path, train: TrainConfig, classes: int) -> NetworkSize:
    """Return the size of the network of `train`. It is kept in `out`: torch and timm take seconds to load."""
    kwargs = json.dumps(train.network_kwargs, sort_keys=True)
    return _kept_size(out, train.architecture, classes, train.image_size, kwargs)


@cache
def _kept_size(out: Path, *how: Any) -> NetworkSize:
    return NetworkSize(**Rates(out).once(f"{how}, timm {metadata.version('timm')}", lambda: asdict(_count(*how))))


@cache
def _count(architecture: str, classes: int, image_size: int, model_kwargs: str = "{}") -> NetworkSize:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from genrobust.classifiers import batch_norms, create_classifier

    with torch.device("meta"), torch.inference_mode():  # shapes alone: no memory, no time
        network = create_classifier(architecture, classes, image_size, json.loads(model_kwargs)).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, image_size, image_size))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetworkSize(parameters, counter.get_total_flops() / 2e9, len(batch_norms(network)))


def measure_machine(out: Path, ways: Collection[tuple[str, int, str]]) -> None:
    """Measure how fast networks train on this machine's CPU in each of `ways`; it is kept in `out`.

    Args:
        ways: A worker, as `Stage.worker` names it, its threads and a precision.
    """
    rates = Rates(out)
    unknown = [way for way in sorted(ways) if rates.known(MACHINE, way[0], Cost(1, way[2])) is None]
    for worker, threads, precision in unknown:
        set_threads(threads)
        rates.remember(MACHINE, Cost(1, precision).keys(worker)[0], _measure_speed(precision, SECONDS / len(unknown)))


def _measure_speed(precision: str, seconds: float) -> float:
    """Return the billions of multiply-adds a second, of forward passes, at which a small network trains."""
    import torch

    from genrobust.classifiers import autocast, create_classifier

    architecture, side, batch = MEASURED
    network, images = create_classifier(architecture, 2, side), torch.rand(batch, 3, side, side)
    count, began = -1, time.monotonic()  # the first step warms up
    while count < 1 or time.monotonic() - began < seconds:
        with autocast(images.device, precision):
            loss = network(images).float().logsumexp(dim=1).sum()
        loss.backward()
        count += 1
        if not count:
            began = time.monotonic()
    return count * batch * TRAIN * _count(architecture, 2, side).multiply_adds / (time.monotonic() - began)


class StageTimes:
    """The time of each stage, summed over its blocks."""

    def __init__(self) -> None:
        self._stages: dict[str, StageRecord] = {}

    @property
    def records(self) -> tuple[StageRecord, ...]:
        """One record a stage, in the order in which the stages began."""
        return tuple(self._stages.values())

    @contextmanager
    def timed(self, stage: str, unit: str, count: int) -> Iterator[None]:
        """Time a block of `stage` that makes `count` items, in `unit`; for 0, all of them are found done."""
        began = time.monotonic()
        yield
        spent = time.monotonic() - began if count else 0.0
        before = self._stages.get(stage, StageRecord(stage, 0.0, 0, unit, True))
        items, reused = before.items + count, before.reused and not count
        self._stages[stage] = StageRecord(stage, before.seconds + spent, items, unit, reused)
