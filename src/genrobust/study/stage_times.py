"""The time that each stage of a study took, for the report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from genrobust.core import StageRecord


class StageTimes:
    """The time of each stage, summed over its blocks."""

    def __init__(self) -> None:
        self._stages: dict[str, StageRecord] = {}

    @property
    def records(self) -> tuple[StageRecord, ...]:
        """One record per stage, in the order in which the stages began."""
        return tuple(self._stages.values())

    @contextmanager
    def timed(self, stage: str, unit: str, count: int) -> Iterator[None]:
        """Time a block of `stage` that makes `count` items, in `unit`. A `count` of 0 means that all were reused."""
        began = time.monotonic()
        yield
        spent = time.monotonic() - began if count else 0.0
        before = self._stages.get(stage, StageRecord(stage, 0.0, 0, unit, True))
        items = before.items + count
        reused = before.reused and not count
        self._stages[stage] = StageRecord(stage, before.seconds + spent, items, unit, reused)
