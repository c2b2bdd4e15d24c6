"""Completes words for the shell: recipes, arms and datasets after RECIPE:, and the keys of --set. Loads no torch."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

import typer

from genrobust.core import UserError

if TYPE_CHECKING:
    from genrobust.recipe import Section

VARIABLE = "_GENROBUST_COMPLETE"  # by which a shell asks for completions


def recipes(incomplete: str) -> list[str]:
    """Return the installed recipes, and the recipe files in the folder of the word."""
    from genrobust.recipe import recipe_names

    folder = incomplete.rpartition("/")[0]
    files = sorted(path for path in Path(folder or ".").glob("*.y*ml") if path.suffix in (".yaml", ".yml"))
    return [name for name in [*recipe_names(), *map(str, files)] if name.startswith(incomplete)]


def arms(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the arms of the command's recipe."""
    return _names("arm_names", _recipe_of(ctx), incomplete)


def datasets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the datasets of the command's recipe."""
    return _names("dataset_names", _recipe_of(ctx), incomplete)


def arms_of_recipes(incomplete: str) -> list[str]:
    """Return RECIPE:ARM for a recipe with a colon after it, else recipes."""
    return _names_after_colon("arm_names", incomplete)


def datasets_of_recipes(incomplete: str) -> list[str]:
    """Return RECIPE:DATASET for a recipe with a colon after it, else recipes."""
    return _names_after_colon("dataset_names", incomplete)


def metrics(incomplete: str) -> list[str]:
    """Return the metrics that there are."""
    from genrobust.robustness import METRICS

    return [name for name in METRICS.names() if name.startswith(incomplete)]


def keys(incomplete: str) -> list[str]:
    """Return the keys of a recipe, dotted, each with its equals sign."""
    from genrobust.recipe import Recipe

    return list(dict.fromkeys(f"{key}=" for key in _dotted_keys(Recipe) if key.startswith(incomplete)))


def _dotted_keys(section: "type[Section]", prefix: str = "") -> Iterator[str]:
    from genrobust.recipe import sections_in

    for name, field in section.model_fields.items():
        sections = () if get_origin(field.annotation) in (dict, tuple) else tuple(sections_in(field.annotation))
        if not sections:
            yield prefix + name
        for subsection in sections:
            yield from _dotted_keys(subsection, f"{prefix}{name}.")


def _recipe_of(ctx: typer.Context) -> str:
    """The recipe among the words of a command, of which none is parsed where the last option has no value yet."""
    from genrobust.recipe import is_recipe

    words = [ctx.params.get("recipe"), *ctx.args]
    return next((word for word in words if word and is_recipe(word)), "")


def _names_after_colon(kind: str, incomplete: str) -> list[str]:
    recipe, colon, begun = incomplete.rpartition(":")
    return [f"{recipe}:{name}" for name in _names(kind, recipe, begun)] if colon else recipes(incomplete)


def _names(kind: str, recipe: str, incomplete: str) -> list[str]:
    from genrobust.recipe import load_recipe

    with suppress(UserError):
        return [name for name in getattr(load_recipe(recipe), kind) if name.startswith(incomplete)]
    return []


def complete_in_bash(complete: Callable[[], Any]) -> None:
    """Complete a word in bash, which divides words at colons, and replaces what follows the last one.

    `complete` prints the completions of the variables of the environment, and exits.
    """
    words, current = os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"])
    joined, typed = list[str](), ""
    for index, word in enumerate(words):
        after_colon = joined and (word == ":" or (index > 1 and words[index - 1] == ":"))
        if after_colon:
            joined[-1] += word
        else:
            joined.append(word)
        if index == current:
            os.environ["COMP_CWORD"] = str(len(joined) - 1)
            typed = joined[-1]
    os.environ["COMP_WORDS"] = "\n".join(joined)
    with redirect_stdout(StringIO()) as printed, suppress(SystemExit):
        complete()
    replaced = typed.rpartition(":")[0] + ":" if ":" in typed else ""
    for line in printed.getvalue().splitlines():
        print(re.sub(r"([^\w@%+=:,./-])", r"\\\1", line.removeprefix(replaced)))
