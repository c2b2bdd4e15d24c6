"""The commands that describe recipes: what recipes and commands can name, and the JSON Schema of recipes."""

from functools import partial
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.markup import escape
from rich.table import Table

from genrobust.cli.options import Overwrite, argument, option
from genrobust.cli.program import KINDS, Kind, command, out_console, tell
from genrobust.core import UserError

if TYPE_CHECKING:
    from genrobust.core import Registry
    from genrobust.recipe import Section


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
    from genrobust.robustness import FIGURES

    registries: dict[str, tuple[Registry[Any], type[Section] | None]] = {
        "sources": (SOURCES, DataConfig),
        "readers": (READERS, ShiftConfig),
        "engines": (ENGINES, GeneratorConfig),
        "modes": (MODES, DiffusersConfig),
        "augmentations": (AUGMENTATIONS, Augmentation),
        "methods": (METHODS, TrainConfig),
        "figures": (FIGURES, None),
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
    "figures": "--figure, claims.N.figure",
    "executors": "execute.executor",
    "sections": "every form of a report",
}
for _name, _named_by in _OWN.items():
    KINDS.register(_name)(Kind(_named_by, partial(_load, _name)))


def _kinds(incomplete: str) -> list[str]:
    return [kind for kind in KINDS.names() if kind.startswith(incomplete)]


SchemaFile = Annotated[Path | None, option("--out FILE.json", "Output file; default: standard output.")]
KindName = Annotated[str | None, argument("KIND", f"One of {', '.join(KINDS.names())}.", autocompletion=_kinds)]


@command("list")
def list_(kind: KindName = None) -> None:
    """List what recipes and commands can name, with the keys of each: readers, engines, figures and others."""
    if kind is None:
        for name, of_kind in KINDS.members().items():
            registry = of_kind.load()[0]
            out_console.print(f"[bold]{name}[/] ({of_kind.named_by}): {escape(', '.join(registry.names()))}")
        return
    if kind not in KINDS.names():
        raise UserError(f"{kind}: list one of {', '.join(KINDS.names())}")
    of_kind = KINDS.get(kind)
    registry, base = of_kind.load()
    table = Table("name", "own keys", "description", title=of_kind.named_by, title_justify="left")
    for member, thing in registry.members().items():
        table.add_row(escape(member), escape(", ".join(own_keys(thing, base))), escape(first_paragraph(thing)))
    out_console.print(table)


@command()
def schema(out: SchemaFile = None, overwrite: Overwrite = False) -> None:
    """Print the JSON Schema of recipes, by which editors complete and check them; it has the keys of plug-ins."""
    from genrobust.core import page_json, writing
    from genrobust.recipe import recipe_schema

    with writing(out or Path("-"), ".json", overwrite=overwrite) as file:
        file.write(page_json(recipe_schema()).encode())
    if out is not None:
        tell(out)


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
