"""Reads a recipe from YAML: by name or path, with ``--quick``, ``--set`` and sweeps applied."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from genrobust.core import UserError, digest, mask_secrets, parse_yaml, reading
from genrobust.recipe.paths import given, locate_specs, paths_from
from genrobust.recipe.recipe import Recipe
from genrobust.recipe.section import explain, near_or_known, set_value, shown
from genrobust.recipe.sweep import expand

SUFFIXES = (".yaml", ".yml")
LONGEST_VARIED = 160  # bytes of a name
LOOKS = ("name", "title", "question", "device", "track", "execute", "tune")  # keys that change no result
BUILTIN = resources.files("genrobust.recipe") / "builtin"


def recipe_names() -> list[str]:
    """The names of the installed recipes, sorted."""
    return sorted(p.name.removesuffix(".yaml") for p in BUILTIN.iterdir() if p.name.endswith(".yaml"))


def is_recipe(word: str) -> bool:
    """Whether `word` names a recipe: a file, or an installed one even if a folder (``./name``) has the same name."""
    is_folder = os.path.isdir(word)  # noqa: PTH112 - it takes a name that is too long
    return word in recipe_names() or (Path(word).suffix in SUFFIXES and not is_folder)


def load_recipe(name_or_path: str, overrides: Iterable[str] = (), quick: bool = False) -> Recipe:
    """Load a recipe.

    A study writes its report to a folder of the recipe's name. So a recipe that `overrides` changed is called after the
    original and its changes, such as ``pictograms+train.steps=20``, unless they set `name`. Keys that change no result,
    such as `device` and `title`, are not in the name.

    Args:
        name_or_path: The name of an installed recipe, or the path of a .yaml file, which its paths are relative to.
        overrides: ``key.sub=value`` texts, applied in order; a value is YAML, and a path in it starts at the current
            folder, as do those of installed recipes.
        quick: First apply the recipe's own `quick` section.

    Raises:
        UserError: An unknown name, a file that cannot be read or is no YAML, an unknown key, a value out of range, or
            `quick` where the recipe has no such section. The message names the file and the key.
    """
    raw = parse_yaml(_read_recipe(name_or_path), name_or_path)
    if not isinstance(raw, dict):
        raise UserError(f"{name_or_path}: a recipe is a mapping of keys (got {shown(raw)})")
    folder = Path(name_or_path).parent if Path(name_or_path).suffix in SUFFIXES else Path()
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
    varied, changes = dict(raw), dict[str, Any]()
    for override in overrides:
        key, sign, text = override.partition("=")
        where = f"--set {shown(override)[1:-1]}"
        if not sign or not key:
            raise UserError(f"{where}: write key=value, such as --set train.steps=200")
        changes[key] = given(parse_yaml(text, f"{where}: the value"))
        if re.search(r"(^|\s)#", text) and "#" not in str(changes[key]):
            raise UserError(f"{where}: YAML takes what follows # for a comment: put the value in quotes of its own")
        set_value(varied, key, changes[key], where)
    recipe = parse_recipe(varied, name_or_path, folder)
    return recipe if "name" in changes else recipe.model_copy(update={"name": _varied_name(recipe.name, changes)})


def _varied_name(name: str, changes: Mapping[str, Any]) -> str:
    """Return `name`, and ``+key=value`` for each of the `changes` that may change a result, in sorted order.

    What is long, or has characters that some system takes for others, is shortened and ends in ``~`` and a hash.
    """
    kept = {key: value for key, value in changes.items() if key != "data.root" and key.split(".")[0] not in LOOKS}
    texts = {key: value if isinstance(value, str) else json.dumps(value, default=str) for key, value in kept.items()}
    parts = [(key, text.replace(", ", ",")) for key, text in sorted(texts.items())]
    plain = [tuple(re.sub(r"[^a-z0-9_.,\[\] -]+", "-", mask_secrets(text)) for text in part) for part in parts]
    varied = "+".join([name, *map("=".join, plain)])
    if plain == parts and len(varied.encode()) <= LONGEST_VARIED and varied[-1] not in ". ":
        return varied
    cut = varied.encode()[: LONGEST_VARIED - 9].decode(errors="ignore").rstrip(". ")
    return f"{cut}~{digest([name, kept], 8)}"


def parse_recipe(
    raw: dict[str, Any], where: str = "recipe", folder: Path = Path(), seen_from: Path | None = None
) -> Recipe:
    """Build a recipe from a mapping, after expanding its sweeps; its paths are relative to `folder`.

    What may be a path or something else, such as a model of the hub, is a path if it is there, seen from `seen_from`,
    by default `folder`.

    Raises:
        UserError: One line for each mistake, which begins with `where` and names the key.
    """
    expanded = locate_specs(expand(raw, where), folder, folder if seen_from is None else seen_from)
    try:
        with paths_from(folder):
            return Recipe.model_validate(expanded)
    except ValidationError as error:
        raise UserError("\n".join(explain(error, Recipe, where))) from None


def recipe_yaml(recipe: Recipe, folder: Path = Path()) -> str:
    """All values of `recipe`, as the YAML of a recipe file in `folder`."""
    values = recipe.model_dump(mode="json")
    if folder != Path():
        here = Path(os.path.relpath(Path(), folder))
        values = parse_recipe(values, folder=here, seen_from=Path()).model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _read_recipe(name_or_path: str) -> bytes:
    path = Path(name_or_path)
    if path.suffix in SUFFIXES:
        hint = "" if path.exists() else " (write one with genrobust init, or name one of genrobust list)"
        with reading(f"the recipe {name_or_path}", then=hint):
            return path.read_bytes()
    if name_or_path not in recipe_names():
        hint = near_or_known(name_or_path, recipe_names())
        raise UserError(f"no recipe {name_or_path!r}; {hint}\nThe name of a recipe file ends in .yaml.")
    return (BUILTIN / f"{name_or_path}.yaml").read_bytes()
