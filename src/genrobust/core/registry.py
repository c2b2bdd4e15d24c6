"""Tables of named things. Other packages add to them through entry points."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module, metadata
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar

from genrobust.core.errors import UserError, one_line
from genrobust.core.names import near_names, perhaps

T = TypeVar("T")
Points = Sequence[metadata.EntryPoint]
log = logging.getLogger(__name__)

# The groups of entry points that genrobust reads begin with this.
_GROUPS = "genrobust."
# What follows it in the groups that exist. A test compares them with the registries.
_KINDS = (
    *("augmentations", "commands", "engines", "estimators", "executors", "formats", "methods", "metrics", "modes"),
    *("readers", "sections", "sources"),
)


class Registry(Generic[T]):
    """Things of one kind, by name.

    A module of genrobust adds one with ``register``. Another package declares an entry point, which is loaded when its
    name is asked for::

        [project.entry-points."genrobust.engines"]
        squares = "my_package:Squares"
    """

    def __init__(self, kind: str, entry_point_group: str | None = None, package: str | None = None) -> None:
        """Create an empty registry.

        Args:
            kind: The kind of its members, in one word, for messages: "engine".
            entry_point_group: The group in which other packages declare members. None takes none.
            package: A package of genrobust whose modules register themselves. They are imported at the first use, so a
                new file is enough.
        """
        self.kind = kind
        self._group = entry_point_group
        self._package = package
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
        """Return every name once, the names of other packages last. Load nothing of other packages."""
        return list(dict.fromkeys([*sorted(self._registered()), *self._entry_points()]))

    def members(self) -> dict[str, T]:
        """Return all members by name. Leave out members of other packages that cannot be loaded.

        `warn_of_plugins` reports these.
        """
        members = dict(sorted(self._registered().items()))
        for name in self._entry_points():
            if name not in members:
                with suppress(UserError):
                    members[name] = self.get(name)
        return members

    def require_unique(self) -> None:
        """Raise UserError if another package offers a member under a name that genrobust uses.

        For registries whose members are all used, so that no name is asked for before the work begins.
        """
        for name in self._registered().keys() & self._entry_points().keys():
            self.get(name)

    def get(self, name: str) -> T:
        """Return the member called `name`."""
        own = self._registered()
        points = self._entry_points().get(name, [])
        packages = sorted(map(_package_of, points))
        if name in own:
            packages = ["genrobust", *packages]
        if len(packages) > 1:
            raise UserError(_describe_clash(self.kind, name, packages))
        if name in own:
            return own[name]
        if not points:
            hint = perhaps(near_names(name, self.names()))
            raise UserError(f"no {self.kind} {name!r}{hint}; known: {', '.join(self.names())}")
        thing: T = _load(self.kind, points[0])
        return thing

    def _registered(self) -> dict[str, T]:
        if self._package is not None:
            package = import_module(self._package)
            for module in iter_modules(package.__path__, f"{package.__name__}."):
                import_module(module.name)
            self._package = None
        return self._own

    def _entry_points(self) -> Mapping[str, Points]:
        if self._group is None:
            return {}
        return _declared(tuple(sys.path)).get(self._group, {})


def is_own(thing: Any) -> bool:
    """Return whether a member of a registry belongs to genrobust itself."""
    return str(thing.__module__).startswith(_GROUPS)


def warn_of_plugins() -> None:
    """Log a warning for each member of another package that cannot be used, once in a process.

    It is ignored unless a recipe or an option names it: then `Registry.get` fails.
    """
    _warn_of_plugins(tuple(sys.path))


@cache
def _warn_of_plugins(path: tuple[str, ...]) -> None:
    """Load all that other packages on the `path` offer, and log the failures."""
    for group, names in _declared(path).items():
        plural = group.removeprefix(_GROUPS)
        if plural not in _KINDS:
            packages = sorted({_package_of(point) for points in names.values() for point in points})
            log.warning(
                f"ignored: the entry points {group!r} of {', '.join(packages)}: there is no such group"
                f"{perhaps(near_names(plural, _KINDS))}"
            )
            continue
        kind = plural.removesuffix("s")
        for name, points in names.items():
            if len(points) > 1:
                log.warning("ignored: %s", _describe_clash(kind, name, sorted(map(_package_of, points))))
                continue
            try:
                _load(kind, points[0])
            except UserError as error:
                log.warning("ignored: %s", error)


@cache
def _declared(path: tuple[str, ...]) -> Mapping[str, Mapping[str, Points]]:
    """Return the entry points for genrobust of all packages on the `path`, by group and name.

    Cached, because it reads the metadata of every installed package.
    """
    points = metadata.entry_points()
    groups: dict[str, dict[str, list[metadata.EntryPoint]]] = {}
    for group in points.groups:
        if group.startswith(_GROUPS):
            names = groups.setdefault(group, {})
            for point in points.select(group=group):
                names.setdefault(point.name, []).append(point)
    return groups


def _package_of(point: metadata.EntryPoint) -> str:
    if point.dist:
        return point.dist.name
    return point.module.partition(".")[0]


def _describe_clash(kind: str, name: str, packages: Sequence[str]) -> str:
    return f"{kind} {name!r}: {' and '.join(packages)} each offer one: uninstall all but one"


def _load(kind: str, point: metadata.EntryPoint) -> Any:
    """Load a member of another package. Raises UserError with the package and the reason if that fails."""
    try:
        return point.load()
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        place = f"{point.value} of the package {_package_of(point)}"
        raise UserError(f"{kind} {point.name!r}: cannot load {place}: {reason}: update or uninstall it") from error


# The HTML that report/ makes of nouns of core in a notebook. The nouns do not know report/.
VIEWS: Registry[Callable[[Any], Any]] = Registry("view", package="genrobust.report.views")
