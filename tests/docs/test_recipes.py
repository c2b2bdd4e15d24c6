"""The pieces of recipes in the documentation are valid ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pages import PAGES, blocks

from genrobust.recipe import ClassModelConfig, GeneratorConfig, GroupRule, Recipe, Section, load_recipe, set_value
from genrobust.recipe.classify import ArmConfig, TrainConfig
from genrobust.recipe.generate import DatasetConfig, GenerateConfig
from genrobust.recipe.load import BUILTIN
from genrobust.recipe.section import sections_in
from genrobust.recipe.sweep import expand

PIECES = [(page, code) for page in PAGES for code in blocks(page, "yaml")]
REST = {"name": "docs", "arms": [{"name": "real", "mixture": "real"}]}
OVERRIDDEN = {  # the sections whose keys a mapping overrides
    (ArmConfig, "train"): TrainConfig,
    (DatasetConfig, "generator"): GeneratorConfig,
    (DatasetConfig, "generate"): GenerateConfig,
    (DatasetConfig, "class_model"): ClassModelConfig,
}


@pytest.mark.parametrize(("page", "code"), PIECES, ids=[f"{page.stem}-{n}" for n, (page, _) in enumerate(PIECES)])
def test_a_piece_completes_a_recipe(page: Path, code: str, tmp_path: Path) -> None:
    piece = yaml.safe_load(code)
    rest = REST if "sweep" not in piece else {"name": "docs"}
    file = tmp_path / "docs.yaml"
    file.write_text(yaml.safe_dump({**rest, **piece}), encoding="utf-8")
    for quick in {False, "quick" in piece}:
        assert load_recipe(str(file), quick=quick).arms


def test_a_pattern_of_the_documentation_finds_the_group_beside_it() -> None:
    (page,) = (page for page in PAGES if page.stem == "own-data-more")
    rows = re.findall(
        r"^[|] `([^`]+)`[^|]*[|] `([^`]+)` [|] `([^`]+)` [|]$", page.read_text(encoding="utf-8"), flags=re.M
    )
    assert len(rows) == 5
    for path, pattern, group in rows:
        found = re.search(str(GroupRule(pattern=pattern).pattern), path)
        assert found is not None and found[1] == group, path


def test_every_key_stands_in_an_installed_recipe_or_on_a_page() -> None:
    recipes = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in BUILTIN.iterdir() if path.suffix == ".yaml"]
    used = {key for raw in [*recipes, *(yaml.safe_load(code) for _, code in PIECES)] for key in keys_in(raw)}
    assert keys_of(Recipe) - used == set()


def keys_in(raw: dict[str, Any]) -> Iterator[tuple[type[Section], str]]:
    """The keys in `raw` and its short version, each with the section that declares it."""
    expanded = expand(raw)
    for key, value in (expanded.pop("quick", None) or {}).items():
        set_value(expanded, key, value, "quick")
    todo: list[tuple[Any, list[type[Section]]]] = [(expanded, [Recipe])]
    while todo:
        value, sections = todo.pop()
        if isinstance(value, list):
            todo += [(entry, sections) for entry in value]
        elif isinstance(value, dict):
            for key, inner in value.items():
                having = [section for section in sections if key in section.model_fields]
                yield from ((declaring(section, key), key) for section in having)
                todo.append((inner, [x for section in having for x in sections_at(section, key)] or sections))


def keys_of(root: type[Section]) -> set[tuple[type[Section], str]]:
    sections = [root]
    for section in sections:
        sections += [x for key in section.model_fields for x in sections_at(section, key) if x not in sections]
    return {
        (declaring(section, key), key)
        for section in sections
        for key in section.model_fields.keys() - getattr(section, "without", frozenset())
        if section.__module__.startswith("genrobust.")  # and not those of plug-ins
    }


def sections_at(section: type[Section], key: str) -> list[type[Section]]:
    kinds = (section.model_fields[key].annotation, OVERRIDDEN.get((section, key)))
    return list(dict.fromkeys(x for kind in kinds for x in sections_in(kind)))


def declaring(section: type[Section], key: str) -> type[Section]:
    """The first of the classes above `section` that has the key."""
    return next(base for base in reversed(section.__mro__) if key in getattr(base, "model_fields", {}))
