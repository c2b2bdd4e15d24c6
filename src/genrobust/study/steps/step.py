"""A step of a study: it makes one artifact, item by item, and knows its name and cost before it starts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from genrobust.core import count
from genrobust.store import Artifact
from genrobust.study.context import Context
from genrobust.study.estimates import Cost
from genrobust.study.executors.work import Item, MakeItems

NOT_SHARED = "choose an --out on a disk that all nodes share, under the same path, or a URL"


@dataclass(frozen=True, eq=False, repr=False)
class Step(ABC):
    """One artifact of a study. Its folder is named after a hash of its inputs, so it is known before anything is made.

    A step is cheap to create. It holds the steps that it needs, and work starts only in its methods. Steps of one class
    with the same `key` make the same artifact, and are equal. A step is pickled as its fields: a worker computes the
    rest again.

    Attributes:
        title: The title of the progress bar.
        counted: What its stage counts in the report's table of times.
        unit: What the sizes of its items count.
        together: Many items in one call cost less than one by one.
        in_batches: Steps of this class that do not need each other run at the same time.
    """

    title: ClassVar[str]
    counted: ClassVar[str] = "images"
    unit: ClassVar[str] = "images"
    together: ClassVar[bool] = False
    in_batches: ClassVar[bool] = False

    context: Context

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Step) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def key(self) -> object:
        """The identity of the step among all of its class."""
        return self.folder

    @property
    @abstractmethod
    def stage(self) -> str:
        """The name under which times and rates are kept and `show` lists the step."""

    @property
    @abstractmethod
    def folder(self) -> Path | None:
        """The folder of the artifact, made or not; None if nothing has to be made."""

    @property
    @abstractmethod
    def row(self) -> str:
        """The heading under which `show` lists the items."""

    def row_of(self, steps: int) -> str:
        """Return the heading of the row of so many steps with the same `row`."""
        del steps
        return self.row

    def needs(self) -> tuple[Step, ...]:
        """Return the steps that come before this one."""
        return ()

    def items(self) -> list[Item]:
        """List all items. Made ones have size 0."""
        return []

    def cost(self, item: Item) -> Cost:
        """Return the cost of `item`, by which its time is estimated and its rate kept."""
        raise NotImplementedError

    def make(self, keys: Sequence[Any]) -> None:
        """Make the items with these keys in this process."""
        raise NotImplementedError

    def load(self) -> MakeItems:
        """Load what makes items, such as a network; called once in each process that makes some."""
        return self.make

    def artifacts(self) -> list[Path]:
        """Return the folders of all artifacts of the step."""
        return [] if self.folder is None else [self.folder]

    def is_made(self) -> bool:
        """Return whether the artifact is made; fetches it if another machine made it."""
        assert self.folder is not None
        return Artifact(self.folder).fetch().is_finished

    def claim(self) -> AbstractContextManager[object]:
        """Lock the artifact for a block, if several processes may make it."""
        return nullcontext()

    def announce(self, items: Sequence[Item]) -> None:
        """Log what begins, before `items` are made."""
        del items

    def announce_result(self) -> None:
        """Log the result of an item, in the command's process, as soon as it is made."""
        return

    def finish(self, made: Sequence[Item]) -> None:
        """Finish the artifact in the command's process, after the items `made` were made, if any."""
        del made

    @property
    def is_quick(self) -> bool:
        """Whether it ends much earlier than others of its class, and is worth a look before they end."""
        return False

    def memory(self) -> int:
        """Return the bytes that a worker needs for what it loads; 0 for a small network."""
        return 0

    @property
    def alone(self) -> bool:
        """Whether the command's own process makes all items."""
        return False

    @property
    def threads(self) -> int:
        """The CPU threads of a worker."""
        return self.context.recipe.threads

    @property
    def worker(self) -> str:
        """The worker in the key of a rate: "cpu, 1 thread"."""
        return f"{self.context.device}, {count(self.threads, 'thread')}"

    def fetch(self) -> None:
        """Fetch what other machines made from a remote folder. Only the first step of a batch does it, for all."""
        return

    @classmethod
    def announce_batch(cls, steps: Sequence[Any], items: Sequence[Item], workers: int) -> None:
        """Log what begins, before `items` of `steps` are made by so many workers."""
        del workers
        for number, step in enumerate(steps):
            of_step = [item for item in items if item.key[0] == number]
            if of_step:
                step.announce(of_step)

    @classmethod
    def load_batch(cls, steps: Sequence[Any]) -> MakeItems:
        """Load what makes items of `steps`. Their keys are pairs: the number of the step, and the key in it."""
        loaded: list[MakeItems] = [step.load() for step in steps]

        def make(keys: Sequence[tuple[int, Any]]) -> None:
            for number, make_items in enumerate(loaded):
                of_step = [key for step, key in keys if step == number]
                if of_step:
                    make_items(of_step)

        return make
