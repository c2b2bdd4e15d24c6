"""Tables of named things, to which other packages add through entry points."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module, metadata
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar

from genrobust.core.errors import UserError
from genrobust.core.names import near_names, perhaps

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind, by name.

    A module of genrobust adds one with ``register``. Another package declares an entry point, which is loaded when its
    name is asked for::

        [project.entry-points."genrobust.engines"]
        squares = "my_package:Squares"
    """

    def __init__(self, kind: str, entry_point_group: str | None = None, package: str | None = None) -> None:
        """An empty registry.

        Args:
            kind: What it holds, in one word, for messages: "engine".
            entry_point_group: Where other packages declare theirs; None takes none.
            package: A package whose modules register themselves, imported at the first use: a new file is enough.
        """
        self.kind, self._group, self._package = kind, entry_point_group, package
        self._own: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds a thing under `name`.

        Raises:
            ValueError: The name is taken.
        """

        def add(thing: T) -> T:
            if name in self._own:
                raise ValueError(f"the {self.kind} {name!r} is registered twice")
            self._own[name] = thing
            return thing

        return add

    def names(self) -> list[str]:
        """Every name, each once, those of other packages last. Loads none of these."""
        return list(dict.fromkeys([*sorted(self._registered()), *self._entry_points()]))

    def members(self) -> dict[str, T]:
        """Return everything by name, without what other packages offer twice, or that cannot be loaded."""
        members = {}
        for name in self.names():
            with suppress(UserError):
                members[name] = self.get(name)
        return members

    def get(self, name: str) -> T:
        """The thing called `name`.

        Raises:
            UserError: An unknown name, one that several packages offer, or a package that cannot be loaded.
        """
        registered, entry_points = self._registered(), self._entry_points().get(name, [])
        others = sorted(point.dist.name if point.dist else point.module.partition(".")[0] for point in entry_points)
        packages = ["genrobust", *others] if name in registered else others
        if len(packages) > 1:
            raise UserError(f"{self.kind} {name!r}: {' and '.join(packages)} each offer one: uninstall all but one")
        if name in registered:
            return registered[name]
        if not entry_points:
            hint = perhaps(near_names(name, self.names()))
            raise UserError(f"no {self.kind} {name!r}{hint}; known: {', '.join(self.names())}")
        try:
            thing: T = entry_points[0].load()
        except Exception as error:
            raise UserError(
                f"{self.kind} {name!r}: cannot load {entry_points[0].value} of the package {packages[0]}: "
                f"{type(error).__name__}: {error}: update or uninstall that package"
            ) from error
        return thing

    def _registered(self) -> dict[str, T]:
        if self._package is not None:
            package = import_module(self._package)
            for module in iter_modules(package.__path__, f"{package.__name__}."):
                import_module(module.name)
            self._package = None
        return self._own

    def _entry_points(self) -> Mapping[str, Sequence[metadata.EntryPoint]]:
        return _declared(self._group, tuple(sys.path)) if self._group else {}


@cache
def _declared(group: str, path: tuple[str, ...]) -> Mapping[str, Sequence[metadata.EntryPoint]]:
    """The entry points of a group, by name, of all packages on the `path`: to read them takes long."""
    points: dict[str, list[metadata.EntryPoint]] = {}
    for point in metadata.entry_points(group=group):
        points.setdefault(point.name, []).append(point)
    return points


# What report/ makes of the nouns of core, which do not know it: their HTML in a notebook.
VIEWS: Registry[Callable[[Any], Any]] = Registry("view", package="genrobust.report.views")
