"""The names of studies that --set varies: one for each recipe that differs in its results, valid for every folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from genrobust.recipe import load_recipe, parse_recipe

RECIPE = """
name: small
train: {steps: 400, batch_size: 64}
sweep:
  - {over: {n: [1, 2]}, arm: {name: "{n} each", mixture: [{source: real, per_class: "{n}"}]}}
  - {over: {n: [3]}, arm: {name: "{n} each", mixture: [{source: real, per_class: "{n}"}]}}
arms: [{name: real, mixture: real}]
quick: {train.steps: 50}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return str(path)


@pytest.mark.parametrize(
    ("overrides", "change"),
    [
        (["train.steps=20"], "+train.steps=20"),
        (["train.steps=9", "train.steps=20"], "+train.steps=20"),
        (["train={steps: 20, batch_size: 64}"], "+train.steps=20"),
        (["seeds=[0, 1]", "train.augmentation=augmix"], "+seeds=[0,1]+train.augmentation=augmix"),
        (["train.augmentation=augmix", "seeds=[0, 1]"], "+seeds=[0,1]+train.augmentation=augmix"),
        (["train.weight_decay=1"], "+train.weight_decay=1.0"),
        (["sweep.1=null"], "+sweep.1=null"),
        (["datasets.held out.generate.per_class=2"], "+datasets.held out.generate.per_class=2"),
        (["train.model_kwargs.drop_rate=0.5"], "+train.model_kwargs.drop_rate=0.5"),
        (["train.steps=400"], ""),
        (["seeds=[0]", "data_seed=0", "data.generated=null"], ""),
        (["train.steps=20", "train.steps=400"], ""),
        (["device=cpu", "track=true", "execute.workers=2", "title=a", "question=b?"], ""),
    ],
)
def test_the_name_says_what_differs_in_the_results(recipe: str, overrides: list[str], change: str) -> None:
    assert load_recipe(recipe, overrides).name == f"small{change}"


def test_the_short_version_is_varied_by_what_differs_from_it(recipe: str) -> None:
    names = [load_recipe(recipe, [f"train.steps={n}"], quick=True).name for n in (50, 400)]
    assert names == ["small-quick", "small-quick+train.steps=400"]


def test_a_name_that_is_set_stays(recipe: str) -> None:
    assert load_recipe(recipe, ["name=mine", "train.steps=20"], quick=True).name == "mine"


def test_a_recipe_that_is_complete_only_with_set_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "part.yaml"
    path.write_text("name: part\narms: [{name: real, mixture: real}]\nreference: none\n")
    assert load_recipe(str(path), ["reference=real", "train.steps=20"]).name == "part+reference=real+train.steps=20"


ODD = (
    "a=b",
    "a/b",
    "../..",
    "A",
    "a",
    "\u9375",
    "null",
    "20",
    "a ",
    "a.",
    "a\\b",
    "[a]",
    "a\u0301",
    "\u00e1",
    "x" * 300,
)


def test_odd_values_give_names_of_their_own_that_are_folders_everywhere(recipe: str) -> None:
    """Each name is valid, short, and another one where a file system ignores case and has one form of accents."""
    values = [*(f"'{odd}'" for odd in ODD), "20", "true", "[a]"]
    found = [load_recipe(recipe, [f"train.model_kwargs.x={value}"]) for value in values]
    found += [load_recipe(recipe, [f"train.model_kwargs.{key}=1"]) for key in ("X", "x", "a+b", "x" * 300, "\u00e9")]
    assert len({recipe.name.casefold() for recipe in found}) == len(found)
    for one in found:
        assert one.name.isascii() and len(one.name) < 100 and one.name.startswith("small+train.model_kwargs.")
        assert parse_recipe(one.model_dump(mode="json")) == one


def test_a_name_of_many_changes_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    many = [f"train.model_kwargs.key_{n}={n}" for n in range(30)]
    names = set()
    for base in ("small", "\u9375" * 60):
        path.write_text(RECIPE.replace("small", base))
        for overrides in (many, [*many, "train.steps=20"], [*many, "train.steps=21"]):
            varied = load_recipe(str(path), overrides)
            assert varied.name.startswith(base[:40]) and len(varied.name.encode()) <= 160
            assert parse_recipe(varied.model_dump(mode="json")) == varied
            names.add(varied.name)
    assert len(names) == 6
