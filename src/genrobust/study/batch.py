"""Runs steps: steps of one class that do not need each other form a batch, which an executor makes at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from genrobust.core import GenrobustError, set_threads
from genrobust.study.context import Context
from genrobust.study.estimates import Cost, Rates, estimate
from genrobust.study.executors.work import Item, MakeItems, Work
from genrobust.study.provenance import require_same_makers
from genrobust.study.steps.step import NOT_SHARED, Step


@dataclass(frozen=True)
class Batch:
    """Steps of one class that do not need each other. The key of an item is the number of its step, and its own key."""

    steps: tuple[Step, ...]

    @property
    def first(self) -> Step:
        """The first step. All steps have its settings."""
        return self.steps[0]

    @property
    def context(self) -> Context:
        return self.first.context

    def workers(self) -> int:
        """Return how many items are made at the same time."""
        return 1 if self.first.alone else self.context.executor.workers()

    def items(self) -> list[Item]:
        """List the items of all steps: quick ones first, then those that take longest, or one worker would end late."""
        self.first.fetch()
        items: list[Item] = []
        for number, step in enumerate(self.steps):
            for item in step.items():
                items.append(replace(item, key=(number, item.key), row=item.row or step.row))
        if self.first.in_batches:
            items.sort(key=lambda item: (not self._step_of(item).is_quick, -item.size))
        return items

    def run(self) -> None:
        """Make all missing items."""
        with ExitStack() as claims:
            for step in self.steps:
                claims.enter_context(step.claim())
            todo = _missing(self.items())
            self._require_same_makers(todo)
            if todo:
                type(self.first).announce_batch(self.steps, todo, self.workers())
            self._make(todo)
            for number, step in enumerate(self.steps):
                step.finish([item for item in todo if item.key[0] == number])
            lost = _missing(self.items()) if todo else []
            if lost:
                folder = self._step_of(lost[0]).folder
                raise GenrobustError(
                    f"{lost[0].name} was made, but is not in {folder}: {NOT_SHARED}; if images changed, rerun"
                )

    def _require_same_makers(self, items: Sequence[Item]) -> None:
        for step in dict.fromkeys(map(self._step_of, items)):
            for folder in step.artifacts():
                require_same_makers(folder)

    def _make(self, items: Sequence[Item]) -> None:
        step = self.first
        work = Work(
            title=step.title,
            items=items,
            load=self.load,
            unit=step.unit,
            together=step.together,
            memory=step.memory() if items else 0,
            alone=step.alone,
            ended=self._end,
        )
        with self.context.times.timed(step.stage, step.counted, sum(item.left for item in items)):
            self.context.executor.run(work)

    def _end(self, items: Sequence[Item], seconds: float | None) -> None:
        """Keep the rate at which `items` were made, and log their results."""
        if seconds is not None:
            self.keep_rate(items, seconds)
        for item in items:
            self._step_of(item).announce_result()

    def load(self) -> MakeItems:
        """Load what makes items, and set the threads of a worker, in whichever process that is."""
        make = type(self.first).load_batch(self.steps)
        if not self.first.alone:
            set_threads(self.first.threads)
        return make

    def _step_of(self, item: Item) -> Step:
        number, _ = item.key
        return self.steps[number]

    def cost(self, item: Item) -> Cost:
        number, key = item.key
        return self.steps[number].cost(replace(item, key=key))

    def rate(self, item: Item, is_rough: bool = False) -> float | None:
        """Return how much of the item's size one worker makes per second; None if that is not known.

        With `is_rough`, the rate may be that of a much shorter item, which is often too low.
        """
        size = 0 if is_rough else item.left
        return Rates(self.context.out).known(self.first.stage, self.first.worker, self.cost(item), size)

    def seconds(self, items: Sequence[Item], is_rough: bool = False) -> float | None:
        """Return the seconds until the workers have made `items`; None if a rate is not known (see `rate`)."""
        return estimate([(item, self.rate(item, is_rough)) for item in items], self.workers())

    def keep_rate(self, items: Sequence[Item], seconds: float) -> None:
        """Keep the rate at which one worker made `items`: for their kind and for any kind, if they share one."""
        costs = [self.cost(item) for item in items]
        amount = sum(item.left * cost.amount for item, cost in zip(items, costs, strict=True))
        if amount <= 0 or seconds <= 0:
            return
        for keys in zip(*(cost.keys(self.first.worker) for cost in costs), strict=True):
            if len(set(keys)) == 1:
                Rates(self.context.out).remember(self.first.stage, keys[0], amount / seconds, seconds)


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Return `steps` and all steps that they need, directly or not. Each comes once, after the steps that it needs."""
    ends = list(dict.fromkeys(steps))
    needed = [need for step in ends for need in step.needs()]
    if not needed:
        return ends
    return list(dict.fromkeys([*in_order(needed), *ends]))


def batches_of(steps: Sequence[Step]) -> list[Batch]:
    """Split `steps`, in their order, into batches; steps without items are left out."""
    batches: list[list[Step]] = []
    for step in steps:
        if not step.stage:
            continue
        last = batches[-1] if batches else []
        joins = last and step.in_batches and type(last[0]) is type(step) and not {*last} & {*step.needs()}
        if joins:
            last.append(step)
        else:
            batches.append([step])
    return [Batch(tuple(batch)) for batch in batches]


def run_steps(steps: Sequence[Step]) -> None:
    """Make everything that is missing of `steps`, which are in the order of `in_order`."""
    for batch in batches_of(steps):
        batch.run()


def _missing(items: Iterable[Item]) -> list[Item]:
    return [item for item in items if item.size]
