"""The commands that describe recipes: what recipes and commands can name, and the JSON Schema of recipes."""

from collections.abc import Mapping
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.markup import escape
from rich.table import Table

from genrobust.cli.app import command, out_console, tell
from genrobust.cli.options import Overwrite, argument, option
from genrobust.core import UserError

if TYPE_CHECKING:
    from genrobust.core import Registry
    from genrobust.recipe import Section

KINDS = {  # where each is named
    "sources": "data.source",
    "readers": "data.shifts.NAME.kind",
    "engines": "generator.engine",
    "modes": "generator.mode",
    "augmentations": "train.augmentation",
    "methods": "train.method",
    "figures": "--figure, claims.N.figure",
    "sections": "every form of a report",
    "formats": "export --to",
    "executors": "--executor",
}


def _kinds(incomplete: str) -> list[str]:
    return [kind for kind in KINDS if kind.startswith(incomplete)]


SchemaFile = Annotated[Path | None, option("--out FILE.json", "Output file; default: standard output.")]
Kind = Annotated[str | None, argument("KIND", f"One of {', '.join(KINDS)}.", autocompletion=_kinds)]


@command("list")
def list_(kind: Kind = None) -> None:
    """List what recipes and commands can name, with the keys of each: readers, engines, figures and others."""
    if kind is not None and kind not in KINDS:
        raise UserError(f"{kind}: list one of {', '.join(KINDS)}")
    for name, (registry, base) in _registries().items():
        if kind is None:
            out_console.print(f"[bold]{name}[/] ({KINDS[name]}): {escape(', '.join(registry.names()))}")
        elif name == kind:
            table = Table("name", "own keys", "description", title=KINDS[name], title_justify="left")
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


def _registries() -> "Mapping[str, tuple[Registry[Any], type[Section] | None]]":
    from genrobust.generate import MODES, DiffusersConfig
    from genrobust.recipe import (
        AUGMENTATIONS,
        ENGINES,
        METHODS,
        READERS,
        SOURCES,
        Augmentation,
        DataConfig,
        GeneratorConfig,
        Section,
        ShiftConfig,
        TrainConfig,
    )
    from genrobust.release import FORMATS
    from genrobust.report import SECTIONS
    from genrobust.robustness import FIGURES
    from genrobust.study import EXECUTORS

    return {
        "sources": (SOURCES, DataConfig),
        "readers": (READERS, ShiftConfig),
        "engines": (ENGINES, GeneratorConfig),
        "modes": (MODES, DiffusersConfig),
        "augmentations": (AUGMENTATIONS, Augmentation),
        "methods": (METHODS, TrainConfig),
        "figures": (FIGURES, None),
        "sections": (SECTIONS, None),
        "formats": (FORMATS, Section),
        "executors": (EXECUTORS, None),
    }


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
