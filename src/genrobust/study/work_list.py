"""The work of a study as `show` lists it: rows of items, done or not, with their time and disk space."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from genrobust.study.batch import Batch, batches_of
from genrobust.study.executors.work import Item
from genrobust.study.steps.step import Step


@dataclass(frozen=True, slots=True)
class Row:
    """Items of a batch that are listed together: how much of them is `done` of `total`, in `unit`."""

    batch: Batch
    name: str
    items: tuple[Item, ...]

    @property
    def stage(self) -> str:
        return self.batch.first.stage

    @property
    def steps(self) -> list[Step]:
        numbers = dict.fromkeys(item.key[0] for item in self.items)
        return [self.batch.steps[number] for number in numbers]

    @property
    def total(self) -> int:
        return sum(item.total for item in self.items)

    @property
    def done(self) -> int:
        return sum(item.total - math.ceil(item.left / item.each) for item in self.items)

    @property
    def unit(self) -> str:
        return self.items[0].unit

    @property
    def left(self) -> list[Item]:
        return [item for item in self.items if item.size]

    def seconds(self, is_rough: bool = False) -> float | None:
        """Return the seconds that are left; None if a rate is not known (see `Batch.rate`)."""
        return self.batch.seconds(self.left, is_rough)

    def disk(self) -> float:
        """Return about how many bytes the missing results take."""
        return sum(self.batch.cost(item).disk for item in self.left)


def list_rows(steps: Sequence[Step]) -> list[Row]:
    rows: list[Row] = []
    for batch in batches_of(steps):
        by_row: dict[str, list[Item]] = {}
        for item in batch.items():
            by_row.setdefault(item.row, []).append(item)
        for row, items in by_row.items():
            first = batch.steps[items[0].key[0]]
            count = len({item.key[0] for item in items})
            name = first.row_of(count) if row == first.row else row
            rows.append(Row(batch, name, tuple(items)))
    return rows


def seconds_left(rows: Iterable[Row], is_rough: bool = False) -> tuple[float, bool]:
    """Return the seconds that `rows` take, and whether there are more whose rate is not known (see `Batch.rate`)."""
    total = 0.0
    is_unknown = False
    for batch, of_batch in groupby(rows, key=lambda row: row.batch):
        seconds = batch.seconds([item for row in of_batch for item in row.left], is_rough)
        if seconds is None:
            is_unknown = True
        else:
            total += seconds
    return total, is_unknown


def disk(rows: Sequence[Row]) -> int:
    return round(sum(row.disk() for row in rows))
