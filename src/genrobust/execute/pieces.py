"""Independent pieces of work: what they are is a stage's business, and where they are done an executor's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from genrobust.recipe import Recipe

Do = Callable[[Sequence[Any]], None]  # does the pieces of these keys, in order


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of work that waits for no other; done again, or after a kill, it comes to the same.

    Whoever does it is handed `key`, the user is told `name`, and `size` is how much it is, in the unit of its work.
    With more than one of `workers`, as many processes do it together, each of them handed the key.
    """

    key: Any
    name: str
    size: int
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Work:
    """Pieces of one kind. `what` is told beside their bar, which counts `unit`.

    `load` is called once in each process that does some of them, and returns what does; to get there it is pickled.
    """

    what: str
    pieces: Sequence[Piece]
    load: Callable[[], Do]
    unit: str = "images"


class Executor(Protocol):
    """Does pieces of work. `elsewhere` says that other processes do, on disks that they share with this one."""

    @property
    def elsewhere(self) -> bool: ...

    def placed(self, recipe: Recipe, say: Callable[[str], None] = ...) -> Recipe:
        """Return `recipe` with the device and the precisions that its work will find, without any `auto` among these.

        `say` gets the lines of `precision.settle`. Raises UserError where there is no such device.
        """

    def require(self, workers: int) -> None:
        """Raise UserError where a piece can never be done by so many `workers` together."""

    def run(self, work: Work) -> None:
        """Do all of `work`; raises UserError for a mistake of the user's, GenrobustError for what could not be done."""
