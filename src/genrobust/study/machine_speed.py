"""Measures once how fast networks train on this machine's CPU, so that the first run has an estimate of its time."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from genrobust.core import set_threads
from genrobust.study.estimates import MACHINE, TRAIN, Cost, Rates
from genrobust.study.network_size import count_size

ARCHITECTURE, SIDE, BATCH = "resnet10t", 64, 16  # the network that is trained, on images of 64 x 64 pixels
SECONDS = 1.0  # in all


@dataclass(frozen=True, order=True)
class WayToTrain:
    """The name of a worker (see `Step.worker`), its threads, and a precision."""

    worker: str
    threads: int
    precision: str


def measure_machine(out: Path, ways: Collection[WayToTrain]) -> None:
    """Measure how fast networks train on this machine's CPU in each of `ways`; the speeds are kept in `out`."""
    rates = Rates(out)
    unknown = [way for way in sorted(ways) if rates.known(MACHINE, way.worker, Cost(1, way.precision)) is None]
    for way in unknown:
        set_threads(way.threads)
        key, _ = Cost(1, way.precision).keys(way.worker)
        rates.remember(MACHINE, key, _measure_speed(way.precision, SECONDS / len(unknown)))


def _measure_speed(precision: str, seconds: float) -> float:
    """Train a small network for some seconds; returns billions of multiply-adds of forward passes per second."""
    import torch

    from genrobust.classifiers import autocast, create_classifier

    network = create_classifier(ARCHITECTURE, 2, SIDE)
    images = torch.rand(BATCH, 3, SIDE, SIDE)

    def train_step() -> None:
        with autocast(images.device, precision):
            loss = network(images).float().logsumexp(dim=1).sum()
        loss.backward()

    train_step()  # warms up
    count = 0
    began = time.monotonic()
    while count < 1 or time.monotonic() - began < seconds:
        train_step()
        count += 1
    per_image = TRAIN * count_size(ARCHITECTURE, 2, SIDE).multiply_adds
    return count * BATCH * per_image / (time.monotonic() - began)
