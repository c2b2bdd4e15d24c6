"""What the stages of a study took, and the rates that tell what the next one will take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genrobust.data import StageRecord
from genrobust.rates import remember_rate, tidy_rates


@dataclass(slots=True)
class Timer:
    """What a block of work says of itself: `missing`, the items it has to make (0 when all is found done).

    `resumed` says that an earlier run made some of them, so that the time tells no rate.
    """

    missing: int = 0
    resumed: bool = False


class StageTimes:
    """The time of each stage, summed over its blocks; rates are remembered in the folder `out`."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._stages: dict[str, StageRecord] = {}

    @property
    def records(self) -> tuple[StageRecord, ...]:
        """One record a stage, in the order in which the stages began."""
        return tuple(self._stages.values())

    @contextmanager
    def timed(self, stage: str, unit: str, of: str) -> Iterator[Timer]:
        """Time a block of `stage`, whose items are `unit`; `of` is what its rate depends on (see `rates`)."""
        tidy_rates(self._out)
        timer = Timer()
        began = time.monotonic()
        yield timer
        spent = time.monotonic() - began if timer.missing else 0.0
        before = self._stages.get(stage, StageRecord(stage, 0.0, 0, unit, True))
        items, reused = before.items + timer.missing, before.reused and not spent
        self._stages[stage] = StageRecord(stage, before.seconds + spent, items, unit, reused)
        if spent and not timer.resumed:
            remember_rate(self._out, stage, of, timer.missing / spent)
