"""What report/ makes of the nouns of core, which do not know it: their HTML in a notebook, and tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from genrobust.core.registry import Registry

VIEWS: Registry[Callable[[Any], Any]] = Registry("view", package="genrobust.report.views")
