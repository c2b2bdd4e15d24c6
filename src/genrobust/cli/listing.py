"""The command that describes recipes: what recipes and commands can name, and the JSON Schema of recipes."""

from functools import partial
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.markup import escape
from rich.table import Table

from genrobust.cli.options import argument
from genrobust.cli.program import KINDS, START, Kind, command, out_console
from genrobust.core import UserError

if TYPE_CHECKING:
    from genrobust.core import Registry
    from genrobust.recipe import Recipe, Section


def _load(name: str) -> "tuple[Registry[Any], type[Section] | None]":
    from genrobust.generate import MODES, DiffusersConfig
    from genrobust.recipe import (
        AUGMENTATIONS,
        ENGINES,
        EXECUTORS,
        METHODS,
        READERS,
        SOURCES,
        Augmentation,
        DataConfig,
        ExecuteConfig,
        GeneratorConfig,
        ShiftConfig,
        TrainConfig,
    )
    from genrobust.report import SECTIONS
    from genrobust.robustness import METRICS

    registries: dict[str, tuple[Registry[Any], type[Section] | None]] = {
        "sources": (SOURCES, DataConfig),
        "readers": (READERS, ShiftConfig),
        "engines": (ENGINES, GeneratorConfig),
        "modes": (MODES, DiffusersConfig),
        "augmentations": (AUGMENTATIONS, Augmentation),
        "methods": (METHODS, TrainConfig),
        "metrics": (METRICS, None),
        "sections": (SECTIONS, None),
        "executors": (EXECUTORS, ExecuteConfig),
    }
    return registries[name]


_OWN = {  # where each is named
    "sources": "data.source",
    "readers": "data.shifts.NAME.kind",
    "engines": "generator.engine",
    "modes": "generator.mode",
    "augmentations": "train.augmentation",
    "methods": "train.method",
    "metrics": "--metric, claims.N.metric",
    "executors": "execute.executor",
    "sections": "the pages of a report",
}
for _name, _named_by in _OWN.items():
    KINDS.register(_name)(Kind(_named_by, partial(_load, _name)))


RECIPES, SCHEMA = "recipes", "schema"


def _listed() -> list[str]:
    return [RECIPES, *KINDS.names(), SCHEMA]


KindName = Annotated[str | None, argument("KIND", f"One of {', '.join(_listed())}.")]


@command("list", rich_help_panel=START)
def list_(kind: KindName = None) -> None:
    """List what recipes can name: recipes, engines, readers, metrics and others, with their keys.

    `recipes` are the installed ones: what they ask and what they need. `schema` is the JSON Schema of recipes, by which
    editors complete and check them.

    Example: genrobust list recipes
    """
    if kind is not None and kind not in _listed():
        raise UserError(f"{kind}: list one of {', '.join(_listed())}")
    if kind is None:
        _print_overview()
    elif kind == RECIPES:
        _print_recipes()
    elif kind == SCHEMA:
        _print_schema()
    else:
        of_kind = KINDS.get(kind)
        registry, base = of_kind.load()
        table = Table("name", "own keys", "description", title=of_kind.named_by, title_justify="left")
        for member, thing in registry.members().items():
            table.add_row(escape(member), escape(", ".join(own_keys(thing, base))), escape(first_paragraph(thing)))
        out_console.print(table)


def _print_overview() -> None:
    from genrobust.recipe import recipe_names

    named = {RECIPES: ("RECIPE", recipe_names())}
    named |= {name: (kind.named_by, kind.load()[0].names()) for name, kind in KINDS.members().items()}
    for name, (where, members) in named.items():
        out_console.print(f"[bold]{name}[/] ({where}): {escape(', '.join(members))}")
    out_console.print(f"[bold]{SCHEMA}[/]: the JSON Schema of recipes, for editors")


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
    """What a recipe needs and this machine lacks, in words: data, a GPU, files; "" for nothing."""
    from genrobust.core import EMBEDDED

    if recipe.data.needs:
        return recipe.data.needs
    generators = [recipe.generation(name)[0] for name in recipe.generated_sets()]
    retrieved = recipe.data.retrieved
    places = [*(config.model for config in generators), retrieved.clip, *recipe.data.places.values()]
    named = [str(place) for place in places if place not in (None, EMBEDDED)]
    return ", ".join(dict.fromkeys(place for place in named if not Path(place).exists()))


def _print_schema() -> None:
    from genrobust.core import OutputFile, page_json
    from genrobust.recipe import recipe_schema

    with OutputFile(Path("-"), ".json").writing() as file:
        file.write(page_json(recipe_schema()).encode())


def own_keys(thing: Any, base: "type[Section] | None") -> list[str]:
    """Return the keys of a member of a registry that the section of all members has not."""
    if base is None:
        return []
    models = [thing] if issubclass(thing, base) else [thing.options]
    if hasattr(thing, "options_in"):
        models = [thing.options_in(mode) for mode in thing.modes]
    return list(dict.fromkeys(key for model in models for key in model.model_fields if key not in base.model_fields))


def first_paragraph(thing: Any) -> str:
    """Return the first sentence about a member of a registry."""
    text = getattr(thing, "title", None) or cleandoc(thing.__doc__ or "")
    return " ".join(text.split("\n\n")[0].split())
