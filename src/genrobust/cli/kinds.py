"""The kinds of things that recipes and commands can name, for `genrobust list`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from genrobust.core import Registry

if TYPE_CHECKING:
    from genrobust.recipe import Section


class Kind(NamedTuple):
    """Where things of a kind are named; `load` returns their registry, and the section whose keys all of them have."""

    named_by: str
    load: "Callable[[], tuple[Registry[Any], type[Section] | None]]"


KINDS: Registry[Kind] = Registry("kind", package="genrobust.tools")
