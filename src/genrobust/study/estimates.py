"""Estimates of time: the cost of an item, divided by the rate of the last such item on this machine."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from genrobust.core import FLOAT32, GenrobustError, parse_json
from genrobust.store import lock, make_folder, remove_leftovers, replacing
from genrobust.study.executors.work import Item

RATES = "rates.json"
OURS = "genrobust_rates"  # the only key of that file
# Forward passes per training step: one forward, and a backward that costs two.
TRAIN = 3.0
# How many times longer than the measured item an estimate may be. The first steps of an item are slow, so after 2 steps
# of training, an estimate for 600 was many times too long.
FARTHEST = 20
# A rate stays if the new item took a smaller part of its time.
SHORTER = 0.5


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of an item.

    Attributes:
        amount: The work for one unit of its size: billions of multiply-adds of a network, or any unit with `of`.
        precision: The precision of most of the work.
        of: The kind of work, if amounts of other work are no measure for it, such as the name of a generator.
        kind: What else changes the rate, such as the augmentation of a training. Until an item of this kind was made,
            the rate of another kind is used.
        disk: The bytes of the result.
    """

    amount: float
    precision: str = FLOAT32
    of: str = ""
    kind: str = ""
    disk: float = 0

    def keys(self, worker: str) -> tuple[str, str]:
        """Return the keys of its rate on `worker` (see `Step.worker`): for its kind, and for any kind."""
        key = ", ".join(filter(None, (self.of, self.precision, worker)))
        return ", ".join(filter(None, (self.kind, key))), key


class Rates:
    """The rates of the last items of each stage, kept in the output folder `out`."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def known(self, stage: str, worker: str, cost: Cost, size: float = 0) -> float | None:
        """Return how much of a size one worker of `stage` makes per second, for an item of `size`.

        None if no rate is known, or only one from a much shorter item. With a `size` of 0, any rate will do.
        """
        if not cost.amount:
            return math.inf
        rates = self._read()
        own_key, key = cost.keys(worker)
        of_stage = rates.get(stage, {})
        if own_key in of_stage:
            key = own_key
        rate = of_stage.get(key, 0) / cost.amount
        seconds = rates.get(_measured(stage), {}).get(key, 0)
        if not rate or size / rate > FARTHEST * seconds:
            return None
        return rate

    def remember(self, stage: str, rate_key: str, per_second: float, seconds: float) -> None:
        """Save the rate of one worker of `stage`: the amount of `rate_key` that it made per second, for `seconds`."""
        with self._locked() as rates:
            measured = rates.setdefault(_measured(stage), {})
            if seconds >= SHORTER * measured.get(rate_key, 0):
                rates.setdefault(stage, {})[rate_key] = per_second
                measured[rate_key] = seconds

    def once(self, name: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Return the numbers saved under `name`. If there are none, save the result of `measure`; others wait."""
        with self._locked() as rates:
            if name not in rates:
                rates[name] = measure()
            return rates[name]

    @contextmanager
    def _locked(self) -> Iterator[dict[str, dict[str, float]]]:
        """Lock the rates for the block, and save its changes, but never over a file of the user.

        Nothing is saved if the disk is full or the folder is read-only.
        """
        with ExitStack() as held:
            try:
                make_folder(self._out)
                held.enter_context(lock(self._out, wait=True))
            except GenrobustError:
                yield self._read()
                return
            # A process that was killed while it saved a rate may have left a file.
            remove_leftovers(self._out, names=(RATES,))
            rates = self._read()
            file_path = self._out / RATES
            yield rates
            if not file_path.exists() or OURS.encode() in file_path.read_bytes():
                with suppress(GenrobustError), replacing(file_path) as file:
                    file.write(json.dumps({OURS: dict(sorted(rates.items()))}, indent=1).encode())

    def _read(self) -> dict[str, dict[str, float]]:
        """Read the rates; none if the file is missing or damaged, since they only estimate times."""
        try:
            stored = parse_json((self._out / RATES).read_bytes())[OURS]
            return {stage: _valid_rates(rates) for stage, rates in stored.items()}
        except (OSError, ValueError, AttributeError, TypeError, KeyError):
            return {}


def _measured(stage: str) -> str:
    """Return the key in the file for how long the rates of `stage` were measured, in seconds."""
    return f"{stage}, seconds"


def _valid_rates(stored: dict[str, object]) -> dict[str, float]:
    rates = {key: float(value) for key, value in stored.items()}  # type: ignore[arg-type]
    return {key: rate for key, rate in rates.items() if 0 <= rate < math.inf}


def estimate(rates: Sequence[tuple[Item, float | None]], workers: int) -> float | None:
    """Return the seconds until `workers` have made items; None if a rate is unknown.

    The longest item goes first, each to the first free worker.

    Args:
        rates: The items, each with the size per second of one worker.
    """
    busy = [0.0] * workers
    known = [item.left / rate for item, rate in rates if rate]
    if len(known) < len(rates):
        return None
    for seconds in sorted(known, reverse=True):
        heapq.heapreplace(busy, busy[0] + seconds)
    return max(busy)
