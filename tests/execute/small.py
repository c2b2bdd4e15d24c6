"""What the tests of executors share: small recipes, small nodes, and counting files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genrobust.recipe import Recipe, parse_recipe

NODE: dict[str, Any] = {"object_store_memory": 80_000_000, "include_dashboard": False}


def recipe_of(**keys: object) -> Recipe:
    return parse_recipe({"name": "small", "arms": [{"name": "real", "mixture": "real"}], **keys})


def count_of(folder: Path, pattern: str) -> int:
    return len(list(folder.glob(pattern)))
