"""Robust image classifiers from generated datasets.

The names in `__all__` are the public ones, and stable; the modules below may change. Each is imported when it is first
asked for, so that `import genrobust` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genrobust.data import Score, Summary
    from genrobust.errors import GenrobustError, UserError
    from genrobust.execute.processes import Processes
    from genrobust.recipe import Recipe, load_recipe, parse_recipe
    from genrobust.study import Study

__version__ = "0.1.0"
__all__ = [
    "GenrobustError",
    "Processes",
    "Recipe",
    "Score",
    "Study",
    "Summary",
    "UserError",
    "load_recipe",
    "parse_recipe",
]

_MODULES = {
    "GenrobustError": "errors",
    "Processes": "execute.processes",
    "Recipe": "recipe",
    "Score": "data",
    "Study": "study",
    "Summary": "data",
    "UserError": "errors",
    "load_recipe": "recipe",
    "parse_recipe": "recipe",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
