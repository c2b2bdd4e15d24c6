"""Loading recipes: from files and by name, with --set and --quick, and never running their code."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from genrobust.core import UserError
from genrobust.recipe import Recipe, is_recipe, load_recipe, recipe_names


@pytest.fixture
def recipe_file(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\ntrain: {steps: 500, batch_size: 64}\narms:\n"
        "  - {name: real, mixture: real}\n"
        "  - {name: both, mixture: [real, {source: generated, fraction: 0.5}], train: {augmentation: randaugment}}\n"
        "quick: {train.steps: 50, seeds: [7]}\n"
    )
    return str(path)


@pytest.mark.parametrize(
    ("overrides", "read"),
    [
        (["train.steps=200"], lambda r: r.train.steps == 200),
        (["train.learning_rate=1.5e-3"], lambda r: r.train.learning_rate == 1.5e-3),
        (["seeds=[3, 4]"], lambda r: r.seeds == (3, 4)),
        (["title=a=b"], lambda r: r.title == "a=b"),
        (["data.generated=null"], lambda r: r.data.generated is None),
        (["train.model_kwargs.drop_rate=0.1"], lambda r: r.train.model_kwargs == {"drop_rate": 0.1}),
        (["arms.1.name=mixed"], lambda r: r.arms[1].name == "mixed"),
        (["train.steps=1", "train.steps=2"], lambda r: r.train.steps == 2),
        ([], lambda r: [(p.source, p.fraction) for p in r.arms[1].mixture] == [("real", None), ("generated", 0.5)]),
    ],
)
def test_set_overrides_a_key_and_the_last_holds(recipe_file: str, overrides: list[str], read: Any) -> None:
    assert read(load_recipe(recipe_file, overrides))


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("train.steps=1e12", "train.steps: "),
        ("train.steps=010", "--set train.steps=010: the value, line 1: 010 begins with 0"),
        ("train.learning_rate=.nan", "--set train.learning_rate=.nan: the value"),
        ("title=!!python/name:os.system x", "--set title=!!python/name:os.system x: the value"),
        ("seeds=" + "[" * 1000, "--set seeds="),
        ("seeds=" + "1" * 5000, "a number of 5,000 digits"),
        ("title={a: 1, a: 2}", "the key 'a' occurs twice"),
        ('title="\\0"', "title: "),
        ("title=\ud800", "no text in UTF-8"),
        ("arms.\u0662.name=x", "the recipe has no '\u0662' here"),
        ("arms." + "9" * 5000 + ".name=x", "the recipe has no '999"),
        ("arms.-1.name=x", "the recipe has no '-1' here"),
        ("train..steps=1", "unknown key train."),
        ("name=../../y/home", "name: "),
        ("train.steps", "--set train.steps: write key=value"),
        ("=5", "--set =5: write key=value"),
        ("train.steps=[1", "--set train.steps=[1"),
        ("train.step=5", "train.step; did you mean steps?"),
        ("name.sub=5", "name.sub: "),
        ("name.sub.more=5", "name.sub.more: "),
        ("arms.9.name=x", "arms.9.name: the recipe has no '9' here"),
    ],
)
def test_a_bad_override_is_named(recipe_file: str, override: str, named: str) -> None:
    with pytest.raises(UserError, match=re.escape(named)):
        load_recipe(recipe_file, [override])


def test_quick_applies_its_section_and_renames_the_study(recipe_file: str) -> None:
    full, quick = load_recipe(recipe_file), load_recipe(recipe_file, quick=True)
    assert (full.name, full.train.steps, full.seeds) == ("small", 500, (0,))
    assert (quick.name, quick.train.steps, quick.seeds) == ("small-quick", 50, (7,))
    assert quick.train.batch_size == 64
    assert load_recipe(recipe_file, ["train.steps=9"], quick=True).train.steps == 9


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: [1", "not valid YAML"),
        ("name: x\ntrain:\n\tsteps: 5\n", r"\(line 3, column 1\): .*spaces"),
        ("- 1", "a mapping of keys, and this is a list"),
        ("", "this is empty"),
        ("name: long\narms: [{name: real, mixture: real}]\n", "no quick section"),
        ("name: !!python/object/apply:os.system ['touch ran']\n", "line 1: the tag"),
        ("name: x\nname: y\n", "line 2: the key 'name' occurs twice"),
        ("name: x\nquick: [train.steps]\n", "quick: give a mapping"),
        ("name: x\nquick: 5\n", "quick: give a mapping"),
        (None, "cannot read the recipe"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=named) as caught:
        load_recipe(str(path), quick=True)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "ran").exists()  # a YAML tag runs no code


def test_what_is_no_file_of_some_megabytes_is_refused(tmp_path: Path) -> None:
    large, folder, pipe = tmp_path / "large.yaml", tmp_path / "folder.yaml", tmp_path / "pipe.yaml"
    with large.open("wb") as file:
        file.truncate(10**11)  # nothing but a hole, which is not read to its end
    folder.mkdir()
    os.mkfifo(pipe)  # that nobody writes to
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: é".encode("latin-1"))
    for path, named in (
        (large, "bytes"),
        (folder, "is no file"),
        (pipe, "is no file"),
        (latin, "UTF-8"),
        (tmp_path / ("a" * 300 + ".yaml"), "cannot read"),
        (tmp_path / "\0.yaml", "cannot read"),
    ):
        with pytest.raises(UserError, match=named):
            load_recipe(str(path))
        assert is_recipe(str(path)) == (path != folder)


def test_what_two_keys_share_by_an_alias_is_set_for_one(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    arms = "[{name: real, mixture: real, train: &short {steps: 5}}, {name: b, mixture: real, train: *short}]"
    path.write_text(f"name: x\narms: {arms}\n")
    recipe = load_recipe(str(path), ["arms.1.train.steps=9"])
    assert [recipe.train_of(arm).steps for arm in recipe.arms] == [5, 9]


@pytest.mark.parametrize("name", recipe_names())
def test_installed_recipes_parse(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name and recipe.title and recipe.question
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
