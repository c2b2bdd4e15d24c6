"""Writes the two reference pages from the code: all keys of a recipe, and all commands with their options.

    python docs/generate.py

Run it after a change to either; tests/docs/test_reference.py fails until then. The text for a key is the docstring of
its section and the comment beside it in the source, so that it is written only once.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import tokenize
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from genrobust.cli.entry import app
from genrobust.recipe import sweep
from genrobust.recipe.load import Recipe
from genrobust.recipe.numbers import Between
from genrobust.recipe.section import Choice, Section

HERE = Path(__file__).parent / "reference"
MADE_BY = "<!-- Written by docs/generate.py from the code: change the text there, then run python docs/generate.py -->"
KEYS = '<div class="keys defaults" markdown>\n\n{}\n\n</div>'  # as docs/style.css has it on phones
SCALARS = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", Path: "path", Any: "any value"}


def main() -> None:
    """Write the pages."""
    HERE.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (HERE / name).write_text(make(), encoding="utf-8")


# ------------------------------------------------------------------------------------------------ recipe


def recipe_reference() -> str:
    """Every section of a recipe with all its keys, as Markdown."""
    found = dict(sections(Recipe))
    anchors = {section.__name__: key.replace(".", "").lower() for section, key in found.items()}
    parts = [
        MADE_BY,
        "# Recipe reference",
        "A recipe is one YAML file. All its keys are on this page; an unknown key is an error with the nearest name. "
        "`genrobust show RECIPE --yaml` prints a recipe with every value filled in. `--set KEY=VALUE` overrides a key "
        "by its path, such as `--set train.steps=200` or `--set arms.1.train.steps=200`. In the paths below, `NAME` "
        "is a name of your own, and `N` an index of a list, from 0. [Write a recipe](../recipes.md) explains their "
        "use.",
    ]
    for section, key in found.items():
        level = "###" if "." in re.sub(r"\.(N|NAME)$", "", key) else "##"
        parts += [f"{level} {f'`{key}`' if key else 'The recipe itself'}"]
        parts += [linked(text, anchors, section) for text in (words(section), *choices(section))]
        parts += [table(section, anchors)]
        if section is Recipe:
            parts += ["### `sweep`", words(sweep)]
    return "\n\n".join(parts) + "\n"


def sections(section: type[Section], key: str = "") -> Iterator[tuple[type[Section], str]]:
    """A section and its subsections, in the order of their keys, each with its path in a recipe."""
    yield section, key
    seen = set()
    for model in models(section).values():
        hints = typing.get_type_hints(model, include_extras=True)
        for name in model.model_fields:
            for inner, below in nested(hints[name]):
                if (inner, name) not in seen:
                    yield from sections(inner, ".".join(filter(None, [key, name, below])))
                seen.add((inner, name))


def models(section: type[Section]) -> dict[str, type[Section]]:
    """What is installed of the models that a section may have, by what chooses each; {"": section} for most."""
    is_choice = issubclass(section, Choice) and "chosen_by" in vars(section)
    return {"": section, **({k: v for k, v in section.models().items() if own(v)} if is_choice else {})}


def own(model: type[Section]) -> bool:
    """Whether it comes with genrobust."""
    return model.__module__.startswith("genrobust.")


def nested(hint: Any) -> Iterator[tuple[type[Section], str]]:
    """The sections in a type, with the placeholder that leads to them in a path: NAME of a mapping, N of a list."""
    if isinstance(hint, type) and issubclass(hint, Section):
        yield hint, ""
    below = {dict: "NAME", tuple: "N"}.get(get_origin(hint), "")
    for argument in get_args(hint):
        yield from ((section, below) for section, _ in nested(argument))


def table(section: type[Section], anchors: Mapping[str, str]) -> str:
    """The keys of a section as a Markdown table; those of some choices alone say of which."""
    found = models(section)
    rows: dict[str, list[str]] = {}
    for choice, model in found.items():
        hints, notes = typing.get_type_hints(model, include_extras=True), comments(model)
        for name, field in model.model_fields.items():
            if name not in getattr(model, "without", ()):
                cells = [f"`{name}`", takes(hints[name], anchors), default_of(field), in_yaml(notes.get(name, ""))]
                rows.setdefault("\0".join(cells), []).append(choice)
    lines = ["| key | value | default | notes |", "| --- | --- | --- | --- |"]
    variants = Counter(row.split("\0")[0] for row in rows)
    for row, choosing in rows.items():
        key, *middle, note = row.split("\0")
        if "" in choosing or set(choosing) == set(found) - {""}:
            only = ""
        else:
            only = f"with {either(section.owners(key[1:-1]) if variants[key] == 1 else choosing)}"  # type: ignore[attr-defined]
        lines.append("| " + " | ".join([key, *middle, "; ".join(filter(None, [only, note]))]) + " |")
    return KEYS.format("\n".join(lines))


def choices(section: type[Section]) -> list[str]:
    """What is to be said of the choices of a section: of all that share some keys, and of each."""
    found = models(section)
    choosing: dict[type[Section], list[str]] = {}
    for choice, model in found.items():
        for of in reversed(model.__mro__):
            if (
                choice
                and of is not section
                and issubclass(of, section)
                and (vars(of).get("__annotations__") or of is model)
            ):
                choosing.setdefault(of, []).append("`{}: {}`".format(*choice.split(" ")))
    return [f"**{', '.join(names)}:** {words(of)}" for of, names in choosing.items()]


def takes(hint: Any, anchors: Mapping[str, str]) -> str:
    """The values that a key of this type accepts, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is type(None):
        return "`null`"
    if origin is Annotated:
        bounds = [f" {bound}" for bound in arguments[1:] if isinstance(bound, Between)]
        return takes(arguments[0], anchors) + "".join(bounds)
    if origin is Literal:
        return either([f"`{value}`" for value in arguments])
    if origin in (typing.Union, types.UnionType):
        kinds = [part for argument in arguments for part in listed(argument, anchors)]
        return either(kinds)
    if origin is tuple:
        return f"list of {plural(takes(arguments[0], anchors))}"
    if origin is dict:
        return "mapping" if arguments[1] is Any else f"mapping of names to {plural(takes(arguments[1], anchors))}"
    if issubclass(hint, BaseModel):
        return f"[section](#{anchors[hint.__name__]})"
    return SCALARS[hint]


def listed(hint: Any, anchors: Mapping[str, str]) -> list[str]:
    """The alternatives of a type; a Literal gives one for each value."""
    return [f"`{value}`" for value in get_args(hint)] if get_origin(hint) is Literal else [takes(hint, anchors)]


def either(kinds: list[str]) -> str:
    """ "a", "a or b", "a, b or c"."""
    return " or ".join([*([", ".join(kinds[:-1])] if kinds[:-1] else []), kinds[-1]])


def plural(noun: str) -> str:
    """ "texts", "[sections](#train)"; a quoted value does not change."""
    if noun.endswith("`"):
        return noun
    noun, bounds, rest = noun.partition(" from ")
    return (noun.replace("]", "s]", 1) if "]" in noun else f"{noun}s") + bounds + rest


def default_of(field: FieldInfo) -> str:
    """A key's default in YAML; empty for a section, whose keys have their own."""
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section):
        return ""
    if value == "":
        return '`""`'
    return "`" + json.dumps(list(value) if isinstance(value, tuple) else value, default=str).replace('"', "") + "`"


@cache
def comments(section: type[Section]) -> dict[str, str]:
    """The comment beside each key of a section in the source, also of inherited keys."""
    found: dict[str, str] = {}
    for of in reversed(section.__mro__):
        if not issubclass(of, Section):
            continue
        source = inspect.getsource(of)
        tokens = tokenize.generate_tokens(StringIO(source).readline)
        at = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
        body = ast.parse(source).body[0]
        assert isinstance(body, ast.ClassDef)
        for line in body.body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                beside = [at[n] for n in range(line.lineno, (line.end_lineno or line.lineno) + 1) if n in at]
                found[line.target.id] = " ".join(comment.lstrip("# ") for comment in beside)
    return found


def words(of: Any) -> str:
    """A docstring as Markdown."""
    text = inspect.getdoc(of) or ""
    return in_yaml(re.sub(r"::$", ":", text, flags=re.M))


def in_yaml(text: str) -> str:
    """`text` with null in place of None."""
    return re.sub(r"`?\bNone\b`?", "`null`", text)


def linked(text: str, anchors: Mapping[str, str], here: type[Section]) -> str:
    """`text` with the names of sections' classes as links to these."""

    def link(found: re.Match[str]) -> str:
        name = found[1]
        return f"[{name}](#{anchors[name]})" if name in anchors and name != here.__name__ else found[0]

    return re.sub(r"`([A-Z]\w+)`", link, text)


# ---------------------------------------------------------------------------------------------- commands


def command_reference() -> str:
    """Every command with its arguments and options, as Markdown."""
    commands: dict[str, Any] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    parts = [
        MADE_BY,
        "# Command reference",
        "`genrobust --help` lists the commands, `genrobust COMMAND --help` the options of one. Exit codes: 0 done; 1 "
        "a failure, or a finding such as damage; 2 a mistake in the input; 130 interrupted. "
        "`genrobust --debug COMMAND ...` shows the traceback of a failure.",
    ]
    for group in dict.fromkeys(command.rich_help_panel for command in commands.values()):
        parts.append(f"## {group}")
        for name in [name for name, command in commands.items() if command.rich_help_panel == group]:
            parts += described(name, commands[name])
    return "\n\n".join(parts) + "\n"


def described(name: str, command: Any) -> list[str]:
    """One command: its name, purpose, usage and options."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    required = [f"{p.opts[0]} {p.metavar}" for p in options if p.required]
    places = [p.metavar if p.required else f"[{p.metavar}]" for p in arguments]
    left = ["[OPTIONS]"] if len(options) > len(required) else []
    usage = " ".join(["genrobust", name, *places, *required, *left])
    rows = [f"| {shown(p)} | {p.help} | {standard(p)} |" for p in (*arguments, *options)]
    heads = ["| | | default |", "| --- | --- | --- |"]
    about, _, example = (inspect.getdoc(command.callback) or "").partition("\n\nExample: ")
    return [
        f"### `{name}`",
        about,
        f"```text\n{usage}\n\n{example}\n```",
        *([KEYS.format("\n".join(heads + rows))] if rows else []),
    ]


def shown(param: Any) -> str:
    """An argument or option as the user types it."""
    if param.param_type_name == "argument":
        return f"`{param.metavar}`"
    names = "/".join([*param.opts, *param.secondary_opts])
    text = names if param.is_flag else f"{names} {param.metavar}"
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def standard(param: Any) -> str:
    """The default of an argument or option."""
    if param.required:
        return "*required*"
    if param.default in (None, "") or param.default is False or callable(param.default):
        return ""
    return f"`{param.opts[0]}`" if param.default is True else f"`{param.default}`"


PAGES: dict[str, Callable[[], str]] = {"recipe.md": recipe_reference, "commands.md": command_reference}

if __name__ == "__main__":
    sys.exit(main())
