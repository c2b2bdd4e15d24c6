"""Reads a recipe from YAML: by name or path, with ``--quick``, ``--set`` and sweeps applied."""

from __future__ import annotations

import os
from collections.abc import Iterable
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from genrobust.core import LARGEST_YAML, UserError, parse_yaml, reading
from genrobust.recipe.recipe import Recipe
from genrobust.recipe.section import explain, near_or_known, require_plain, set_value, shown
from genrobust.recipe.sweep import expand
from genrobust.recipe.varied import varied_name

SUFFIXES = (".yaml", ".yml")
BUILTIN = resources.files("genrobust.recipe") / "builtin"


def recipe_names() -> list[str]:
    """The names of the installed recipes, sorted."""
    return sorted(p.name.removesuffix(".yaml") for p in BUILTIN.iterdir() if p.name.endswith(".yaml"))


def is_recipe(word: str) -> bool:
    """Whether `word` names a recipe: a file, or an installed one even if a folder (``./name``) has the same name."""
    is_folder = os.path.isdir(word)  # noqa: PTH112 - it takes a name that is too long, or has a zero byte
    return word in recipe_names() or (Path(word).suffix in SUFFIXES and not is_folder)


def load_recipe(name_or_path: str, overrides: Iterable[str] = (), quick: bool = False) -> Recipe:
    """Load a recipe.

    A study writes its report to a folder of the recipe's name. So a recipe that `overrides` changed is called after the
    original and its changes, such as ``pictograms+train.steps=20``, unless they set `name`. Keys that change no result,
    such as `device` and `title`, are not in the name.

    Args:
        name_or_path: The name of an installed recipe, or the path of a .yaml file.
        overrides: ``key.sub=value`` texts, applied in order; a value is YAML.
        quick: First apply the recipe's own `quick` section.

    Raises:
        UserError: An unknown name, a file that cannot be read or is no YAML, an unknown key, a value out of range, or
            `quick` where the recipe has no such section. The message names the file and the key.
    """
    raw = parse_yaml(_read_recipe(name_or_path), name_or_path)
    if not isinstance(raw, dict):
        kind = "empty" if raw is None else f"a {type(raw).__name__}"
        raise UserError(f"{name_or_path}: a recipe is a mapping of keys, and this is {kind}")
    short = raw.pop("quick", None) or {}
    if not isinstance(short, dict):
        raise UserError(f"{name_or_path}: quick: give a mapping, such as {{train.steps: 50}} (got {shown(short)})")
    if quick:
        if not short:
            raise UserError(f"{name_or_path} has no quick section: run it without --quick, or shorten it with --set")
        if isinstance(raw.get("name"), str):  # else its validation reports the mistake
            raw["name"] += "-quick"
        for key, value in short.items():
            set_value(raw, key, value, f"{name_or_path}: quick: {key}")
    varied, keys = deepcopy(raw), set()
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign or not key:
            raise UserError(f"--set {shown(override)[1:-1]}: write key=value, such as --set train.steps=200")
        set_value(
            varied, key, parse_yaml(text, f"--set {shown(override)[1:-1]}: the value"), f"--set {shown(key)[1:-1]}"
        )
        keys.add(key)
    recipe = parse_recipe(varied, where=name_or_path)
    if not keys or "name" in keys:
        return recipe
    try:
        values = parse_recipe(raw).model_dump(mode="json")
    except UserError:  # it is a recipe with these values alone
        values = raw
    return recipe.model_copy(update={"name": varied_name(raw, varied, values, recipe.model_dump(mode="json"))})


def parse_recipe(raw: dict[str, Any], where: str = "recipe") -> Recipe:
    """Build a recipe from a mapping, after expanding its sweeps.

    Raises:
        UserError: One line for each mistake, which begins with `where` and names the key.
    """
    try:
        expanded = expand(require_plain(raw), where)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    try:
        return Recipe.model_validate(expanded)
    except ValidationError as error:
        raise UserError("\n".join(explain(error, Recipe, where))) from None


def recipe_yaml(recipe: Recipe) -> str:
    """All values of `recipe`, as the YAML of a recipe file."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_recipe(name_or_path: str) -> bytes:
    path = Path(name_or_path)
    if path.suffix in SUFFIXES:
        with reading(f"the recipe {name_or_path}", ValueError):  # a name with a zero byte
            if not path.exists():
                raise UserError(
                    f"cannot read the recipe {name_or_path}: there is no such file. Write one with genrobust init, or "
                    "name an installed one (genrobust list recipes prints them)"
                )
            if not path.is_file():
                raise UserError(f"cannot read the recipe {name_or_path}: it is no file")
            with path.open("rb") as file:
                return file.read(LARGEST_YAML + 1)
    if name_or_path not in recipe_names():
        hint = near_or_known(name_or_path, recipe_names())
        raise UserError(f"no recipe {name_or_path!r}; {hint}\nThe name of a recipe file ends in .yaml.")
    return (BUILTIN / f"{name_or_path}.yaml").read_bytes()
