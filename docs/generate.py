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
import tokenize
import types
import typing
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from genrobust.cli.entry import app
from genrobust.recipe.images import ImagesConfig
from genrobust.recipe.load import Recipe
from genrobust.recipe.section import Choice, Section

HERE = Path(__file__).parent / "reference"
MADE_BY = "<!-- Written by docs/generate.py from the code: change the text there, then run python docs/generate.py -->"
KEYS = '<div class="keys defaults" markdown>', "</div>"  # around a page, for its tables: see docs/style.css
COMMON = 4  # commands that have an option, which is described once
ENDLESS = 4096  # larger bounds only stop nonsense
SCALARS = {str: "text", int: "integer", float: "number", bool: "boolean", Path: "path", Any: "any value"}


def main() -> None:
    """Write the pages."""
    HERE.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (HERE / name).write_text(make(), encoding="utf-8")


# ------------------------------------------------------------------------------------------------ recipe


def recipe_reference() -> str:
    """Every section of a recipe with all its keys, as Markdown."""
    found: dict[type[Section], str] = {}
    for section, key in sections(Recipe):
        found.setdefault(section, key)
    anchors = {section.__name__: key.replace(".", "").lower() for section, key in found.items()}
    parts = [
        MADE_BY,
        "# Recipe reference",
        "All keys of a recipe; [Write a recipe](../recipes.md) explains their use. `NAME` in a path is a name of your "
        "own, `N` an index of a list, from 0. A key whose default is `null` accepts it. `--set train.steps=200` or "
        "`--set arms.1.train.steps=200` overrides a key, `genrobust show RECIPE --yaml` prints all values.",
        KEYS[0],
    ]
    described: dict[tuple[type, str], str] = {}  # where each key of a class stands
    for section, key in found.items():
        level = "###" if "." in re.sub(r"\.(N|NAME)$", "", key) else "##"
        parts += [f"{level} {f'`{key}`' if key else 'The recipe itself'}", *part(section, "", anchors, described, key)]
        for names, of in choices(section).items():
            parts += part(of, names, anchors, described, key)
        if section is Recipe:
            parts += ["### `sweep`", "A list of sweeps: see [Sweeps](../recipes.md#sweeps)."]
    return "\n\n".join([*parts, KEYS[1]]) + "\n"


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
    if not (issubclass(section, Choice) and "chosen_by" in vars(section)):
        return {"": section}
    return {"": section, **{name: model for name, model in section.models().items() if own(model)}}


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


def part(
    of: type[Section], names: str, anchors: Mapping[str, str], described: dict[tuple[type, str], str], path: str
) -> list[str]:
    """The text of a section, or of what has these `names` in it, and a table of the keys that it declares.

    Keys that it has from a class whose keys are `described` under an earlier path are only named.
    """
    declared = inspect.get_annotations(of) if names else of.model_fields
    keys = [key for key in of.model_fields if key in declared and key not in getattr(of, "without", ())]
    declaring = {key: next(base for base in of.__mro__ if key in inspect.get_annotations(base)) for key in keys}
    earlier = {key: described[declaring[key], key] for key in keys if (declaring[key], key) in described}
    described |= {(declaring[key], key): path for key in keys if key not in earlier}
    text, about = by_key(words(of), keys)
    for base in declaring.values():
        about = by_key(words(base), keys)[1] | about
    hints, beside = typing.get_type_hints(of, include_extras=True), comments(of)
    rows = ["|key|value|default|notes|", "|---|---|---|---|"]
    for key in (key for key in keys if key not in earlier):
        notes = "; ".join(filter(None, [in_yaml(beside.get(key, "")), linked(about.get(key, ""), anchors, of)]))
        default, value = default_of(of.model_fields[key]), takes(hints[key], anchors)
        if default == "`null`":  # which says that it is accepted
            value = re.sub(r", (`[^`]+`)$", r" or \1", value.removesuffix(" or `null`"))
        rows.append(f"|`{key}`|{value}|{default}|{notes}|")
    parts = [linked(f"{names} {text}".strip(), anchors, of)]
    if len(rows) > 2:
        parts.append("\n".join(rows))
    for other in dict.fromkeys(earlier.values()):
        same = ", ".join(f"`{key}`" for key, where in earlier.items() if where == other)
        parts.append(f"As in [`{other}`](#{other.replace('.', '').lower()}): {same}.")
    return parts


def by_key(text: str, keys: Collection[str]) -> tuple[str, dict[str, str]]:
    """Take the sentences about one of `keys` out of `text`: each that begins with it, and those after it."""
    first, *paragraphs = text.split("\n\n")
    kept, about = [first], dict[str, list[str]]()
    for paragraph in paragraphs:
        rest, key = list[str](), ""
        for sentence in re.split(r"(?<=\.)\s+(?=[A-Z`])", " ".join(paragraph.split())):
            if (begins := re.match(r"`(\w+)(?:: [^`]+)?`", sentence)) and begins[1] in keys:
                key = begins[1]
                sentence = re.sub(rf"^`{key}` (?:is |are )?", "", re.sub(rf"^`{key}: ", "`", sentence))
            (about.setdefault(key, []) if key else rest).append(sentence)
        kept += [" ".join(rest)] if rest else []
    return "\n\n".join(kept), {key: " ".join(sentences) for key, sentences in about.items()}


def choices(section: type[Section]) -> dict[str, type[Section]]:
    """The classes of the choices of a section, by the names of those that share each, in bold."""
    choosing: dict[type[Section], list[str]] = {}
    for choice, model in models(section).items():
        for of in reversed(model.__mro__):
            declares = issubclass(of, BaseModel) and any(key in of.model_fields for key in inspect.get_annotations(of))
            if choice and of is not section and issubclass(of, section) and (declares or of is model):
                choosing.setdefault(of, []).append(choice)
    return {in_bold(names): of for of, names in choosing.items()}


def in_bold(choices: list[str]) -> str:
    """ "source pacs", "source vlcs": **`source: pacs`, `vlcs`.**"""
    keys = dict.fromkeys(choice.split(" ")[0] for choice in choices)
    by = {key: [choice.split(" ", 1)[1] for choice in choices if choice.startswith(f"{key} ")] for key in keys}
    names = [", ".join([f"`{key}: {first}`", *(f"`{name}`" for name in rest)]) for key, (first, *rest) in by.items()]
    return f"**{', '.join(names)}.**"


def takes(hint: Any, anchors: Mapping[str, str]) -> str:
    """The values that a key of this type accepts, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is type(None):
        return "`null`"
    if origin is Annotated:
        fields = [field for field in arguments[1:] if isinstance(field, FieldInfo) and arguments[0] in (int, float)]
        bounds = [f" {in_words(field.metadata)}" for field in fields]
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
    if hint is ImagesConfig:
        return f"path or [section](#{anchors[hint.__name__]})"
    if issubclass(hint, BaseModel):
        return f"[section](#{anchors[hint.__name__]})"
    return SCALARS[hint]


def in_words(bounds: list[Any]) -> str:
    """Bounds in words, without an upper one that only stops nonsense: "from 0 to 1", "above 0"."""
    found = {key: getattr(bound, key) for bound in bounds for key in ("gt", "ge", "lt", "le") if hasattr(bound, key)}
    least = f"above {found['gt']:,}" if "gt" in found else f"from {found['ge']:,}"
    if "lt" in found:
        return f"{least} {'and' if 'gt' in found else 'to'} below {found['lt']:,}"
    if found["le"] >= ENDLESS:
        return least
    return f"{least}{', up' if 'gt' in found else ''} to {found['le']:,}"


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
    if noun.startswith("path or "):
        return f"paths or {plural(noun.removeprefix('path or '))}"
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
    """Every command with its arguments and options, as Markdown; options that several commands have come first."""
    commands: dict[str, Any] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    rows = {name: {shown(p): row(p) for p in command.params if p.name != "help"} for name, command in commands.items()}
    counts = Counter(line for lines in rows.values() for line in lines.values())
    shared = [line for line, count in counts.items() if count >= COMMON]
    parts = [
        MADE_BY,
        "# Command reference",
        "`genrobust COMMAND --help` prints the same. Exit codes: 0 done; 1 a failure, or a finding such as damage; 2 a "
        "mistake in the input; 130 interrupted. `genrobust --debug COMMAND ...` shows the traceback of a failure.",
        KEYS[0],
        "## Shared arguments and options",
        table(shared),
    ]
    for group in dict.fromkeys(command.rich_help_panel for command in commands.values()):
        parts.append(f"## {group}")
        for name in [name for name, command in commands.items() if command.rich_help_panel == group]:
            parts += described(name, commands[name], rows[name], shared)
    return "\n\n".join([*parts, KEYS[1]]) + "\n"


def described(name: str, command: Any, rows: dict[str, str], shared: list[str]) -> list[str]:
    """One command: its name, purpose, usage and options."""
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    required = [f"{p.opts[0]} {p.metavar}" for p in options if p.required]
    places = [p.metavar if p.required else f"[{p.metavar}]" for p in command.params if p.param_type_name == "argument"]
    left = ["[OPTIONS]"] if len(options) > len(required) else []
    usage = " ".join(["genrobust", name, *places, *required, *left])
    about, _, example = (inspect.getdoc(command.callback) or "").partition("\n\nExample: ")
    own = [row for row in rows.values() if row not in shared]
    common = [f"`{'/'.join(p.opts)}`" for p in options if rows[shown(p)] in shared]
    return [
        f"### `{name}`",
        about,
        f"```text\n{example or usage}\n```",
        *([table(own)] if own else []),
        *([f"Shared: {', '.join(common)}."] if common else []),
    ]


def table(rows: list[str]) -> str:
    """A table of arguments and options."""
    return "\n".join(["| | |default|", "|---|---|---|", *rows])


def row(param: Any) -> str:
    """The row of an argument or option."""
    return f"|{shown(param)}|{param.help}|{standard(param)}|"


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
    main()
