"""The contract between steps and executors: items to make, and the work that they form."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# Makes the items with these keys, in their order.
MakeItems = Callable[[Sequence[Any]], None]


@dataclass(frozen=True, slots=True)
class Item:
    """One part of a step, such as a shard. It waits for no other item, and making it again gives the same result.

    Attributes:
        key: What a worker receives to make it.
        name: The name that messages show.
        size: How much is left, in the unit of the progress bar; 0 if the item is made.
        row: The heading under which `show` lists it, together with others; "" takes the heading of its step.
        total: The full size in `unit`. One `unit` is `each` in the unit of the progress bar.
        saved: How much of `total` a killed run saved; 0 if the item is made.
    """

    key: Any
    name: str
    size: int
    row: str = ""
    total: int = 0
    unit: str = "images"
    each: int = 1
    saved: int = 0

    @property
    def left(self) -> int:
        """The missing part of `total`, in the unit of the progress bar, without extra work such as a probe."""
        return min(self.size, (self.total - self.saved) * self.each)


@dataclass(frozen=True, slots=True)
class Work:
    """Items of one kind, for an executor.

    Args:
        title: The title of the progress bar.
        load: Returns the function that makes items. It is pickled, and called once in each process that makes some.
        unit: What sizes and the progress bar count.
        together: Many items in one call cost less than one by one, so each worker gets its whole share at once.
        memory: The bytes that a worker needs for what it loads, more than a small network.
        alone: The command's own process makes everything, because the work runs elsewhere, such as on a server.
        ended: Called with items that were made, and the seconds of their worker, without loading. None after a second
            try, which continued from what the first one left.
    """

    title: str
    items: Sequence[Item]
    load: Callable[[], MakeItems]
    unit: str = "images"
    together: bool = False
    memory: int = 0
    alone: bool = False
    ended: Callable[[Sequence[Item], float | None], None] = lambda items, seconds: None

    @property
    def size(self) -> int:
        return sum(item.size for item in self.items)

    def shares(self, workers: int, most: int = sys.maxsize) -> list[tuple[Item, ...]]:
        """Split the items into calls: one item each, or one share per worker if `together`, and at most `most`."""
        calls = min(workers if self.together else most, len(self.items))
        return [tuple(self.items[number::calls]) for number in range(calls)]
