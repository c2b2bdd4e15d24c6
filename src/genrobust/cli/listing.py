"""The command that lists the installed recipes, and the names that recipes can hold."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from genrobust.cli.program import START, command, out_console

if TYPE_CHECKING:
    from genrobust.core import Registry
    from genrobust.recipe import Recipe


@command("list", rich_help_panel=START)
def list_() -> None:
    """List the installed recipes, with what they ask and need, and the names that recipes can hold.

    Example: genrobust list
    """
    _print_recipes()
    for where, registry in _registries().items():
        out_console.print(f"[bold]{where}[/]: {escape(', '.join(registry.names()))}")


def _registries() -> "dict[str, Registry[Any]]":
    """Return the registries by the key or option that names their members."""
    from genrobust.generate import MODES
    from genrobust.recipe import AUGMENTATIONS, ENGINES, EXECUTORS, METHODS, READERS, SOURCES
    from genrobust.robustness import ESTIMATORS, METRICS

    return {
        "data.source": SOURCES,
        "data.shifts.NAME.kind": READERS,
        "generator.engine": ENGINES,
        "generator.mode": MODES,
        "train.augmentation": AUGMENTATIONS,
        "train.method": METHODS,
        "execute.executor": EXECUTORS,
        "--metric, claims.N.metric": METRICS,
        "estimates without labels": ESTIMATORS,
    }


def _print_recipes() -> None:
    from genrobust.recipe import load_recipe, recipe_names

    table = Table()
    table.add_column("recipe", no_wrap=True)
    table.add_column("question")
    table.add_column("needs", overflow="fold")
    table.add_column("trainings", justify="right")
    for name in recipe_names():
        recipe = load_recipe(name)
        question = recipe.title.partition(": ")[2] or recipe.title
        trainings = len(recipe.arms) * len(recipe.seeds)
        table.add_row(name, escape(question), escape(_needs(recipe) or "nothing"), f"{trainings:,}")
    out_console.print(table)


def _needs(recipe: "Recipe") -> str:
    """List what a recipe needs and this machine lacks: data, a GPU, files. Empty for nothing."""
    from genrobust.core import EMBEDDED

    if recipe.data.needs:
        return recipe.data.needs
    generators = [recipe.generation(name)[0] for name in recipe.generated_sets()]
    retrieved = recipe.data.retrieved
    places = [*(config.model for config in generators), retrieved.clip, *recipe.data.places.values()]
    named = [str(place) for place in places if place not in (None, EMBEDDED)]
    return ", ".join(dict.fromkeys(place for place in named if not Path(place).exists()))
