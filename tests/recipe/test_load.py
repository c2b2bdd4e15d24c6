"""Loading recipes: from files and by name, with --set and --quick, and never running their code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from genrobust.core import UserError
from genrobust.recipe import Recipe, load_recipe, parse_recipe, recipe_names


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
        (["data.shifts={a: shift}", "data.shifts.b=shift", "data.shifts.a=null"], lambda r: [*r.data.shifts] == ["b"]),
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
        ("train.learning_rate=.nan", "train.learning_rate: "),
        ("title=!!python/name:os.system x", "--set title=!!python/name:os.system x: the value"),
        ("seeds=" + "[" * 1000, "--set seeds="),
        ("title={a: 1, a: 2}", "the key 'a' occurs twice"),
        ("title=\ud800", "--set title="),
        ("arms." + "9" * 5000 + ".name=x", "the recipe has no '999"),
        ("arms.-1.name=x", "the recipe has no '-1' here"),
        ("train..steps=1", "--set train..steps=1: write one dot before each key and index: train.steps"),
        ("arms[0].name=x", "--set arms[0].name=x: write one dot before each key and index: arms.0.name"),
        ("arms.0.mixture[0]=x", ": arms.0.mixture.0"),
        (".steps=1", "--set .steps=1: "),
        ("arms.7.name=x", "no '7' here: write an index from 0 to 1"),
        ("train.steps", "--set train.steps: write key=value"),
        ("=5", "--set =5: write key=value"),
        ("train.steps=[1", "--set train.steps=[1"),
        ("name.sub.more=5", "name.sub.more=5: the recipe has no 'sub' here"),
        *(
            (f"{word}=1", f"did you mean {key}?")
            for word, key in {
                "lr": "train.learning_rate",
                "epochs": "train.epochs",
                "seed": "seeds",
                "train.lr": "learning_rate",
                "train.batch": "batch_size",
                "train.per_class": "generate.per_class",
                "class_model.chanels": "channels",
            }.items()
        ),
        ("train.zzz=1", "known here: init, method"),
        ("quick.train.steps=1", "unknown key quick; known here: name"),
    ],
)
def test_a_bad_override_is_named(recipe_file: str, override: str, named: str) -> None:
    with pytest.raises(UserError, match=re.escape(named)):
        load_recipe(recipe_file, [override])


def test_a_key_that_has_brackets_is_set(recipe_file: str) -> None:
    Path(recipe_file).write_text(Path(recipe_file).read_text() + "data: {shifts: {'old[1]': a}}\n")
    recipe = load_recipe(recipe_file, ["data.shifts.old[1]=b"])
    assert {name: shift.path.name for name, shift in recipe.data.shifts.items()} == {"old[1]": "b"}
    with pytest.raises(UserError, match=re.escape("unknown key train.[odd]")):
        load_recipe(recipe_file, ["train.[odd]=1"])


@pytest.mark.parametrize("sets", [["execute.num_cpus=3", "execute.executor=slurm"], ["execute.executor=slurm"]])
def test_another_executor_takes_no_settings_of_the_recipe_s_own_wherever_it_is_named(
    recipe_file: str, sets: list[str]
) -> None:
    plain = Path(recipe_file).read_text()
    Path(recipe_file).write_text(plain + "execute: {workers: 2}\n")
    recipe = load_recipe(recipe_file, sets)
    assert (recipe.execute.executor, getattr(recipe.execute, "num_cpus", 0)) == ("slurm", 3 if len(sets) > 1 else None)
    assert load_recipe(recipe_file, ["execute.executor=local"]).execute.workers == 2


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
        ("- 1", "a mapping of keys"),
        ("", "a mapping of keys"),
        ("name: long\narms: [{name: real, mixture: real}]\n", "no quick section"),
        ("name: !!python/object/apply:os.system ['touch ran']\n", "line 1, column 7"),
        ("name: x\nname: y\n", "line 2, column 1.: the key 'name' occurs twice"),
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


def test_what_follows_domainbed_keeps_the_checkpoint_that_validates_best() -> None:
    """What the recipe and the pages say of it: training-domain validation."""
    train = load_recipe("pacs-leave-one-out").train
    assert train.keep == "best" and train.validate_every < train.steps


@pytest.mark.parametrize(
    ("overrides", "change"),
    [
        (["train.steps=9", "train.steps=20"], "+train.steps=20"),
        (["train.augmentation=augmix", "seeds=[0, 1]"], "+seeds=[0,1]+train.augmentation=augmix"),
        (["datasets.held out.generate.per_class=2"], "+datasets.held out.generate.per_class=2"),
        (["train.steps=20", "title=a", "device=cpu"], "+train.steps=20"),
        (["device=cpu", "track=true", "execute.workers=2", "title=a", "question=b?"], ""),
    ],
)
def test_the_name_of_a_varied_study_says_what_differs_in_the_results(
    recipe_file: str, overrides: list[str], change: str
) -> None:
    assert load_recipe(recipe_file, overrides).name == f"small{change}"
    assert load_recipe(recipe_file, [*overrides, "name=mine"], quick=True).name == "mine"


def test_odd_values_give_names_of_their_own_that_are_folders_everywhere(recipe_file: str) -> None:
    """Each name is valid, short, and another one where a file system ignores case and has one form of accents."""
    odd = (
        "a=b",
        "a/b",
        "../..",
        "A",
        "a",
        "\u9375",
        "a ",
        "a.",
        "a\\b",
        "a\u0301",
        "\u00e1",
        "x" * 300,
        "1+b=2",
        "x\n",
    )
    values = [f"train.model_kwargs.x='{value}'" for value in odd]
    values += [f"train.model_kwargs.{key}=1" for key in ("X", "a+b", "x" * 300, "\u00e9")]
    studies = [load_recipe(recipe_file, [value]) for value in values]
    studies.append(load_recipe(recipe_file, [f"train.model_kwargs.key_{n}={n}" for n in range(30)]))
    assert len({study.name.casefold() for study in studies}) == len(studies)
    for study in studies:
        assert study.name.isascii() and len(study.name) <= 160 and study.name.startswith("small+train.model_kwargs.")
        assert parse_recipe(study.model_dump(mode="json")) == study
