"""The reference pages say what the code says, about all that it has."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from pages import DOCS

from genrobust.cli import app
from genrobust.recipe.load import Recipe
from genrobust.recipe.section import Section, sections_in

REFERENCE = DOCS / "reference"
SECTIONS: list[type[Section]] = [Recipe]
for _section in SECTIONS:  # which grows: all that a recipe can hold
    _fields = _section.model_fields.values()
    SECTIONS += [x for field in _fields for x in sections_in(field.annotation) if x not in SECTIONS]
GENERATE = runpy.run_path(str(DOCS / "generate.py"))


@pytest.mark.parametrize("name", GENERATE["PAGES"])
def test_the_page_is_what_the_code_says(name: str) -> None:
    page = (REFERENCE / name).read_text(encoding="utf-8")
    assert page == GENERATE["PAGES"][name](), f"docs/reference/{name} is not up to date: run python docs/generate.py"


def test_every_key_of_a_recipe_is_there() -> None:
    page = (REFERENCE / "recipe.md").read_text(encoding="utf-8")
    keys = {key for section in SECTIONS for key in section.model_fields.keys() - getattr(section, "without", set())}
    assert set(re.findall(r"^\|`(\w+)`\|", page, flags=re.M)) == keys


def test_every_number_is_bounded() -> None:
    found = [keys for section in SECTIONS for keys in bounds(section.__pydantic_core_schema__)]
    assert len(found) > 50 and all(keys == {"g", "l"} for keys in found)


def bounds(schema: Any) -> Iterator[set[str]]:
    """The bounds of each number in a schema of pydantic's, "g" from below and "l" from above."""
    if isinstance(schema, dict):
        if schema.get("type") in ("int", "float"):
            yield {key[0] for key in schema.keys() & {"ge", "gt", "le", "lt"}}
        schema = [*schema.values()]
    for inner in schema if isinstance(schema, list | tuple) else ():
        yield from bounds(inner)


def test_every_command_and_option_is_there() -> None:
    page = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    parts = re.split(r"^### `([\w-]+)`$", page, flags=re.M)[1:]
    described = dict(zip(parts[::2], parts[1::2], strict=True))
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert described.keys() == commands.keys()
    for name, command in commands.items():
        options = {option for param in command.params for option in param.opts if option.startswith("--")}
        cells = re.findall(r"(?:`|<code>)(--[^`<]*)", described[name])
        assert {names for cell in cells for names in cell.split()[0].split("/")} >= options - {"--help"}


@pytest.mark.parametrize(
    ("section", "row"),
    [
        ("train", "|`learning_rate`|number above 0|`0.002`||"),
        ("train", "|`steps`|integer from 1 or `null`|`600`|the number of training steps, `null` with `epochs`.|"),
        ("data.shifts.NAME", "|`severity`|integer from 1 to 5|`null`|all if `null`|"),
        ("datasets.NAME.filter", "|`drop`|number above 0 and below 1|`null`|the share of each class to leave out.|"),
        ("arms.N", "|`mixture`|list of [sections](#armsnmixturen)|*required*||"),
    ],
)
def test_a_key_is_told_with_type_range_default_and_comment(section: str, row: str) -> None:
    page = (REFERENCE / "recipe.md").read_text(encoding="utf-8")
    part = re.split(r"^##+ ", page.split(f"# `{section}`\n", 1)[1], maxsplit=1, flags=re.M)[0]
    assert row in part.splitlines()
