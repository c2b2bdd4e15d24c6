"""Loads a recipe from YAML, with ``--quick``, ``--set`` and sweeps."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from genrobust.core import UserError, digest, mask_secrets, parse_yaml, reading
from genrobust.recipe.checks import check_recipe
from genrobust.recipe.paths import given, locate_specs, paths_from
from genrobust.recipe.recipe import ExecuteConfig, Recipe
from genrobust.recipe.section import explain, near_or_known, set_value, shown
from genrobust.recipe.sweep import expand

SUFFIXES = (".yaml", ".yml")
LONGEST_VARIED = 160  # bytes of a name
# Keys that change no result, so the name of a varied recipe leaves them out.
LOOKS = ("name", "title", "question", "device", "track", "execute", "tune")
EXECUTOR = "execute.executor"
BUILTIN = resources.files("genrobust.recipe") / "builtin"


def recipe_names() -> list[str]:
    """Return the names of the installed recipes, sorted."""
    return sorted(p.name.removesuffix(".yaml") for p in BUILTIN.iterdir() if p.name.endswith(".yaml"))


def is_recipe(word: str) -> bool:
    """Return whether `word` is a recipe file or the name of an installed recipe.

    The name of an installed recipe wins over a folder of the same name. Write ``./name`` for the folder.
    """
    # os.path.isdir accepts a name that is too long for a file. Path.is_dir raises an error.
    is_folder = os.path.isdir(word)  # noqa: PTH112
    return word in recipe_names() or (Path(word).suffix in SUFFIXES and not is_folder)


def load_recipe(name_or_path: str, overrides: Iterable[str] = (), quick: bool = False) -> Recipe:
    """Load a recipe.

    A study writes its report to a folder with the name of its recipe. The name of a changed recipe therefore contains
    the changes, as in ``pictograms+train.steps=20``, unless `overrides` set the key `name`. Keys that change no result,
    such as `device` and `title`, are not in the name.

    Args:
        name_or_path: The name of an installed recipe, or the path of a .yaml file. Paths in the file are relative to
            its folder.
        overrides: ``key.sub=value`` texts, applied in order. A value is YAML. Paths in a value, and in an installed
            recipe, are relative to the current folder.
        quick: Apply the `quick` section of the recipe first.

    Raises:
        UserError: The recipe is unknown, cannot be read, is not YAML, has an unknown key or a bad value, or has no
            `quick` section to apply. The message names the file and the key.
    """
    raw = _read_mapping(name_or_path)
    settings = _pop_quick(raw, name_or_path)
    if quick:
        _apply_quick(raw, settings, name_or_path)
    changes = [_parse_override(text) for text in overrides]
    _apply_overrides(raw, changes)
    is_file = Path(name_or_path).suffix in SUFFIXES
    folder = Path(name_or_path).parent if is_file else Path()
    recipe = parse_recipe(raw, name_or_path, folder)
    changed = {change.key: change.value for change in changes}
    if "name" in changed:
        return recipe
    return recipe.model_copy(update={"name": _varied_name(recipe.name, changed)})


def _read_mapping(name_or_path: str) -> dict[str, Any]:
    raw = parse_yaml(_read_recipe(name_or_path), name_or_path)
    if not isinstance(raw, dict):
        raise UserError(f"{name_or_path}: a recipe is a mapping of keys (got {shown(raw)})")
    return raw


def _pop_quick(raw: dict[str, Any], name_or_path: str) -> dict[str, Any]:
    """Take the section `quick` out of a raw recipe. An empty mapping if there is none."""
    settings = raw.pop("quick", None) or {}
    if not isinstance(settings, dict):
        raise UserError(f"{name_or_path}: quick: give a mapping, such as {{train.steps: 50}} (got {shown(settings)})")
    return settings


def _apply_quick(raw: dict[str, Any], settings: Mapping[str, Any], name_or_path: str) -> None:
    if not settings:
        raise UserError(f"{name_or_path} has no quick section: run it without --quick, or shorten it with --set")
    # The validation of the recipe reports a name that is not a text.
    if isinstance(raw.get("name"), str):
        raw["name"] += "-quick"
    for key, value in settings.items():
        set_value(raw, key, value, f"{name_or_path}: quick: {key}")


@dataclass(frozen=True, slots=True)
class Override:
    """A change of one key of a recipe. `option` is the text that the user typed, for messages."""

    key: str
    value: Any
    option: str


def _parse_override(text: str) -> Override:
    """Parse a ``key=value`` text of ``--set``."""
    key, sign, value_text = text.partition("=")
    option = f"--set {shown(text)[1:-1]}"
    if not sign or not key:
        raise UserError(f"{option}: write key=value, such as --set train.steps=200")
    value = given(parse_yaml(value_text, f"{option}: the value"))
    has_comment = re.search(r"(^|\s)#", value_text) and "#" not in str(value)
    if has_comment:
        raise UserError(f"{option}: YAML takes what follows # for a comment: put the value in quotes of its own")
    return Override(key, value, option)


def _apply_overrides(raw: dict[str, Any], changes: Sequence[Override]) -> None:
    """Apply `changes` to a raw recipe, in order.

    The settings of the recipe's own executor do not fit another executor. If one of the changes names another
    executor, these settings are dropped first, so that the order of the changes does not matter.
    """
    executors = [change.value for change in changes if change.key == EXECUTOR]
    execute = raw.get("execute")
    if executors and isinstance(execute, dict):
        own = execute.get("executor", ExecuteConfig.model_fields["executor"].default)
        if own != executors[-1]:
            raw["execute"] = {}
    for change in changes:
        set_value(raw, change.key, change.value, change.option)


def _varied_name(name: str, changes: Mapping[str, Any]) -> str:
    """Return `name` with ``+key=value`` for each of the `changes` that may change a result, sorted by key.

    A name that is too long, or has characters that a file system confuses with others, is shortened and ends in ``~``
    and a hash.
    """
    kept = {key: value for key, value in changes.items() if key != "data.root" and key.split(".")[0] not in LOOKS}
    texts = {}
    for key, value in kept.items():
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        texts[key] = text.replace(", ", ",")
    parts = sorted(texts.items())
    plain = [(_plain(key), _plain(text)) for key, text in parts]
    varied = "+".join([name, *map("=".join, plain)])
    if plain == parts and len(varied.encode()) <= LONGEST_VARIED and varied[-1] not in ". ":
        return varied
    cut = varied.encode()[: LONGEST_VARIED - 9].decode(errors="ignore").rstrip(". ")
    return f"{cut}~{digest([name, kept], 8)}"


def _plain(text: str) -> str:
    """Replace the characters of `text` that a file system may confuse, and mask secrets."""
    return re.sub(r"[^a-z0-9_.,\[\] -]+", "-", mask_secrets(text))


def parse_recipe(
    raw: dict[str, Any], where: str = "recipe", folder: Path = Path(), seen_from: Path | None = None
) -> Recipe:
    """Build a recipe from a mapping. Sweeps are expanded, and paths are relative to `folder`.

    Args:
        where: The start of error messages, such as the name of a file.
        seen_from: The folder from which to look for a file or folder that a value may name. The value stays as it is if
            nothing is there, because it may name something else, such as a model of the hub. By default `folder`.

    Raises:
        UserError: The recipe has mistakes. Each line of the message is one mistake and names the key.
    """
    expanded = expand(raw, where)
    located = locate_specs(expanded, folder, folder if seen_from is None else seen_from)
    try:
        with paths_from(folder):
            recipe = Recipe.model_validate(located)
    except ValidationError as error:
        raise UserError("\n".join(explain(error, Recipe, where))) from None
    check_recipe(recipe, where)
    return recipe


def recipe_yaml(recipe: Recipe, folder: Path = Path()) -> str:
    """Return all values of `recipe` as the YAML of a recipe file in `folder`."""
    values = recipe.model_dump(mode="json")
    if folder != Path():
        here = Path(os.path.relpath(Path(), folder))
        values = parse_recipe(values, folder=here, seen_from=Path()).model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _read_recipe(name_or_path: str) -> bytes:
    path = Path(name_or_path)
    if path.suffix in SUFFIXES:
        if path.exists():
            hint = ""
        else:
            hint = " (write one with genrobust init, or name one of genrobust list)"
        with reading(f"the recipe {name_or_path}", then=hint):
            return path.read_bytes()
    if name_or_path not in recipe_names():
        hint = near_or_known(name_or_path, recipe_names())
        raise UserError(f"no recipe {name_or_path!r}; {hint}\nThe name of a recipe file ends in .yaml.")
    return (BUILTIN / f"{name_or_path}.yaml").read_bytes()
