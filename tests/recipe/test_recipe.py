"""Recipes: mistakes are named by their keys, and arms and datasets inherit the settings of the study."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import yaml

from genrobust.core import UserError, digest
from genrobust.data.readers.folders import Files
from genrobust.recipe import (
    ClassModelConfig,
    GeneratorConfig,
    Recipe,
    TrainConfig,
    idle_keys,
    load_recipe,
    parse_recipe,
    recipe_names,
    recipe_yaml,
)

REAL: dict[str, Any] = {"name": "real", "mixture": "real"}
SMALL: dict[str, Any] = {"name": "small", "arms": [REAL]}


def arm(**changes: Any) -> dict[str, Any]:
    return {"arms": [REAL | changes]}


def part(*others: Any, **keys: Any) -> dict[str, Any]:
    """An arm that mixes real images, with these keys, and others."""
    return arm(mixture=[{"source": "real", **keys}, *others])


def groups(rules: Any) -> dict[str, Any]:
    return {"data": {"groups": rules}}


def dataset(**section: Any) -> dict[str, Any]:
    return {"datasets": {"few": section}}


FOLDERS = {"source": "folders", "train": "a", "test": "b"}
EDIT: dict[str, Any] = {
    "generator": {"mode": "edit"},
    "generate": {"prompts": {"templates": ["turn this {} into a sketch"]}},
}
MISTAKES = [  # change to SMALL, what the error names
    ({"trian": {}}, "unknown key trian; did you mean train?"),
    ({"sweeps": []}, "unknown key sweeps; did you mean sweep?"),
    ({"train": {"step": 5}}, "unknown key train.step; did you mean steps?"),
    ({"train": {"steps:5": None}}, "unknown key train.steps:5; write a space after the colon: {steps: 5}"),
    ({"data": {"sauce": "folders"}}, "unknown key data.sauce; did you mean source?"),
    ({"generate": {"prompts": {"xyzzy": 1}}}, "unknown key generate.prompts.xyzzy; known here: strategy"),
    ({"class_model": {"chanels": [32, 64]}}, "unknown key class_model.chanels; did you mean channels?"),
    ({"finetune": {"step": 3}}, "unknown key finetune.step; did you mean steps?"),
    (arm(train={"stpes": 5}), "stpes; did you mean steps?"),
    (dataset(generate={"prompts": {"strategi": "single"}}), "strategi; did you mean strategy?"),
    ({"execute": {"executor": "ray", "num_gpus": 1.5}}, "execute: num_gpus: 1.5"),
    ({"train": {"steps": 0}}, "train.steps: input should be greater than or equal to 1 (got 0)"),
    ({"train": {"optimizer": "sgd", "momentum": 0}}, "train: momentum: sgd is Nesterov's, which needs some"),
    ({"train": {"momentum": 0.8}}, "train: momentum: adamw has none"),
    ({"train": {"optimizer": "adam"}}, "train.optimizer: input should be 'adamw', 'sgd' or 'momentum' (got 'adam')"),
    ({"train": {"warmup_steps": 5, "warmup_epochs": 2}}, "train: give either warmup_steps or warmup_epochs"),
    ({"data": {"held_out": 0}}, "source folders, source imagenet,"),
    ({"data": FOLDERS | {"held_out": 0.2, "val": "c"}}, "data: held_out: the key val names"),
    (
        {"data": FOLDERS | {"held_out": 0}, **arm(train={"keep": "best"})},
        "arm 'real': train.keep: best chooses a checkpoint on validation images",
    ),
    ({"data": {"classes": {"count": 1}}}, "data.classes: a sample of the classes: count: input should be"),
    ({"data": {"retrieved": {"without": {"cells": {"share": 1}}}}}, "without.cells: a share of the cells: share: "),
    (arm(mixture=["real", "retrieved-withheld"]), "data.retrieved.without: an arm mixes"),
    (arm(mixture=[{"source": "generated", "cells": "withheld"}]), "data.retrieved.without: an arm mixes"),
    ({"train": {"augmentation_share": 0.5}}, "augmentation_share: standard is no policy"),
    ({"train": {"steps": 5, "epochs": 2}}, "train: give either steps or epochs"),
    ({"data": {"source": "folders"}}, "data.train: field required"),
    ({"data": {"same_class": 2}}, "data.same_class: input should be a mapping, as in {key: value} (got 2)"),
    ({"data": {"extra": {"retrieved": "x"}}}, "data.extra: the name retrieved"),
    ({"data": {"retrieved": {"serch": "x"}}}, "unknown key data.retrieved.serch; did you mean search?"),
    ({"data": {"retrieved": {"search": "", "clip": "x"}}}, "data.retrieved.search: an empty path"),
    (arm(mixture=["real", "retrieved-by-search"]), "data.retrieved.per_class: no arm mixes generated images"),
    (
        {"data": FOLDERS, "generator": {"model": "x"}, **arm(mixture=["generated", "retrieved-by-search"])},
        "data.retrieved.clip: an arm mixes retrieved-by-search",
    ),
    ({"data": {"extra": {"few": "x"}}, **dataset()}, "data.extra: the name few"),
    (groups({}), "data.groups: give one rule, such as {pattern: REGEX}, or a rule for each test set"),
    (groups("site"), "data.groups: give one rule"),
    (groups({"shared": True}), "data.groups: give either pattern or column"),
    (groups({"pattern": "(.)", "column": "site"}), "data.groups: give either pattern or column"),
    (groups({"patern": "(.)"}), "unknown key data.groups.patern; did you mean pattern?"),
    (groups({"pattern": "(.", "shared": False}), "data.groups.pattern: '(.' is no regular expression: "),
    (groups({"pattern": "(?:a)_b"}), "data.groups.pattern: '(?:a)_b' has no capture group"),
    (groups({"pattern": "(a)_(b)"}), "data.groups.pattern: '(a)_(b)' has 2 capture groups: "),
    (groups({"column": 3}), "data.groups.column: "),
    (groups({"sketch": {"patern": "(.)"}}), "data.groups: sketch: unknown key patern; did you mean pattern?"),
    (groups({"sketch": {"pattern": "a"}}), "data.groups: sketch: pattern: 'a' has no capture group"),
    (groups({"sketch": {"pattern": "(.)"}, "phone": "site"}), "data.groups: phone: give the rule of a test set"),
    ({"arms": []}, "arms: "),
    ({"arms": [REAL, REAL]}, "arms: 'real' is the name of two arms"),
    (arm(mixture=["real", "real"]), "arm 'real': mixture: "),
    (arm(mixture=["generated", {"source": "real", "weight": 2}]), "arm 'real': mixture: "),
    (arm(mixture="reel"), "arm 'real': no source 'reel'; there are generated, real, retrieved"),
    (part(balance=["klass"]), "arms.0.mixture.0.balance.0: input should be 'class' or 'style'"),
    (part("generated", balance=["class"]), "arm 'real': mixture: real: balance: it needs a share of the batch"),
    (arm(train={"init": "arm:real"}), "arms: real < real: it needs itself first"),
    (arm(train={"init": "arm:reel"}), "arm 'real': train.init: 'reel' is no arm; the arms are real"),
    (
        {"arms": [REAL | {"train": {"init": "arm:b"}}, REAL | {"name": "b", "train": {"init": "arm:real"}}]},
        "real < b < real: it needs itself first",
    ),
    (
        dataset(filter={"drop": 0.1, "arm": "judge"})
        | {
            "arms": [
                REAL | {"train": {"init": "arm:first"}},
                REAL | {"name": "first", "mixture": ["real", "few"]},
                REAL | {"name": "judge", "train": {"init": "arm:real"}},
            ]
        },
        "datasets.few.filter.arm: 'first' trains on filtered images itself",
    ),
    (arm(reference="b"), "arm 'real': reference: 'b' is no arm; the arms are real"),
    (
        {"arms": [REAL, {"name": "b", "mixture": "real", "train": {"image_size": 96}}]},
        "evaluate.image_size: images to train on have 64 or 96 px",
    ),
    (arm(train={"image_size": 96}) | {"robustness": {"grid": 4}}, "evaluate.image_size: images to train on have 64 or"),
    (arm(group="real"), "'real' is the name of two arms, or of an arm and a group"),
    ({"answer": "none"}, "answer: 'none' is no arm that is compared with another; there are none"),
    (
        {"answer": "real", "arms": [REAL, REAL | {"name": "b"}]},
        "answer: 'real' is no arm that is compared with another; there are b",
    ),
    (
        {"answer": "b", "arms": [REAL | {"group": "old"}, REAL | {"name": "b", "group": "new"}]},
        "answer: 'b' is no group that is compared with another; there are new",
    ),
    (
        {  # two references that are no group: the mean of the group is compared with nothing that has a name
            "answer": "both",
            "arms": [
                REAL,
                REAL | {"name": "other"},
                *(REAL | {"name": n, "group": "both", "reference": of} for n, of in (("a", "real"), ("b", "other"))),
            ],
        },
        "answer: 'both' is no group that is compared with another; there are none",
    ),
    ({"reference": "none"}, "reference: 'none' is no arm; the arms are real"),
    ({"generate": {"split": "val"}, **arm(mixture="generated")}, "arm 'real' trains on 'generated', which has split"),
    ({**dataset(generate={"split": "val"}), **arm(mixture=["real", "few"])}, "arm 'real' trains on 'few'"),
    ({"datasets": {"real": {}}}, "datasets: the name real"),
    (dataset(generator={"steps": 0}), "datasets.few.generator: steps: "),
    (dataset(filter={}), "datasets.few.filter: give either drop"),
    (dataset(filter={"drop": 0.1, "by": "clip"}), "datasets.few.filter: give the key clip"),
    (dataset(filter={"drop": 0.1, "arm": "x"}), "datasets.few.filter.arm: 'x' is no arm"),
    (dataset(filter={"drop": 0.1, "by": "clip", "clip": "a", "arm": "x"}), "datasets.few.filter: arm: it belongs to"),
    ({"evaluate": {"tests": []}}, "evaluate.tests: an empty list"),
    ({"train": {"crop": "random-resized", "augmentation": "none"}}, "train: crop: random-resized is an augmentation"),
    ({"train": {"crop": "square", "start_size": 32}}, "train: start_size needs crop: random-resized"),
    ({"train": {"crop": "random-resized", "start_size": 65}}, "train: start_size needs crop: random-resized"),
    *(({"tune": {"over": {key: [1]}}}, f"tune.over: {key!r} is no key of an arm") for key in ("train", "seeds", "a.b")),
    *(({"tune": {"over": {"weight": value}}}, "tune.over: weight: give a list") for value in ([], 2)),
    (dataset() | {"finetune": {"steps": 90}}, "finetune: it trains nothing: give a dataset finetuned: true"),
    (dataset(finetuned=True) | {"class_model": {}}, "class_model: it trains nothing"),
    *(
        (
            {"data": FOLDERS, **given, **dataset(generator={"steps": 9}), **arm(mixture=name)},
            f"generator.model: an arm mixes {name!r}, and the default generator draws icons",
        )
        for given in ({}, {"generator": {"guidance_scale": 2.0}})
        for name in ("generated", "few")
    ),
    *(
        (dataset(**own, generate={"prompts": {"templates": ["inked {}"]}}), f"mode {mode} draws without text")
        for mode, own in (("images", {"generator": {"mode": "images"}}), ("class", {"from_scratch": True}))
    ),
    (
        {"data": FOLDERS, "robustness": {"baselines": "models.csv", "grid": 4}},
        "robustness: grid: 4 models would take the place of baselines",
    ),
    (
        {"train": {"init": "clip:pictograms"}, "robustness": {"grid": 4}},
        "robustness.grid: its models learn from scratch by the settings of train",
    ),
    (
        {"train": {"model_kwargs": {"stem_width": 16}}, **arm(train={"architecture": "resnet18"})},
        "arm 'real': train.architecture: the recipe's model_kwargs are those of resnet10t",
    ),
    (
        {"generate": {"prompts": {"templates": ["a {}"]}}, **dataset(generator={"mode": "edit"})},
        "datasets.few.generate.prompts.templates: mode edit takes instructions",
    ),
    (
        EDIT | dataset(generator={"mode": "labels"}),
        "datasets.few.generate.prompts.templates: mode labels takes no inst",
    ),
    (dataset() | {"generator": None}, "datasets: "),
    (dataset(from_scratch=True) | {"generator": None}, "datasets: "),
    (dataset(from_scratch=True, finetuned=True), "datasets.few: finetuned and from_scratch"),
    (dataset(class_model={"steps": 2}), "datasets.few: class_model: it needs from_scratch"),
    (dataset(from_scratch=True, class_model={"step": 2}), "datasets.few.class_model: unknown key step; did you mean"),
    (dataset(from_scratch=True, generator={"model": "x"}), "datasets.few: generator.model: "),
    (dataset(from_scratch=True, generator={"mode": "images"}), "datasets.few: generator.mode: "),
    (dataset(from_scratch=True, generator={"width": 64}), "datasets.few.generator: width: this key belongs to"),
    (dataset(from_scratch=True) | {"generator": {"scheduler": "euler"}}, "datasets.few.generator: scheduler: "),
    ({"seeds": [1, 1]}, "seeds: "),
    ({"seeds": []}, "seeds: "),
    ({"claims": [{"says": "it helps", "arm": "real", "than": "reel"}]}, "claims.0.than: 'reel' is no arm"),
    ({"claims": [{"says": "it helps", "arm": "real", "than": "real"}]}, "claims.0: than: "),
    (arm(train={"steps": 1e12}), "the train section of arm 'real': steps: "),
    (dataset(generator={"steps": "nan"}), "datasets.few.generator: steps: "),
    (dataset(generate={"per_class": 1e9}), "datasets.few.generate: per_class: "),
    ({"train": {"model_kwargs": {"a": [1, {"b": math.nan}]}}}, "train.model_kwargs: give texts, finite"),
    ({"data": {"source": "folders", "train": "a\0b"}}, "data.train: "),
    ({"data": {"source": "folders", "train": "  "}}, "data.train: an empty path"),
    ({"data": {"shifts": {"a": "b/" + "a" * 256}}}, "data.shifts.a: a folder or file name of more than 255"),
    ({"data": {"source": "folders", "class_names": {1: "one"}}}, "data.class_names.1"),
    ({"data": {"source": "folders", "class_names": {"one": 1}}}, "data.class_names.one: "),
    ({"data": {"source": "folders", "class_names": {"no": False}}}, "in quotes"),
    ({"b\x1b": 1}, "unknown key 'b\\x1b'"),
    ({"x" * 10_000: 1}, "unknown key xxx"),
    *(({"threads": value}, "threads: ") for value in (True, "2", 2.5, math.nan, 0, 10**20)),
    *(({"train": {"mixup": value}}, "train.mixup: ") for value in (True, "0.2", math.inf)),
]


@pytest.mark.parametrize(("change", "named"), MISTAKES)
def test_a_mistake_is_named_by_its_file_and_key(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_recipe(SMALL | change, where="mine.yaml")
    message = str(caught.value)
    assert named in message and message.startswith("mine.yaml: ")
    assert len(message.splitlines()) <= 3 and len(message) < 2500


@pytest.mark.parametrize(
    "rules",
    [
        {"pattern": "([^/_]+)_[^/]*$"},
        {"pattern": "(cam|phone)(?P<group>[0-9]+)"},
        {"column": "site", "shared": False},
        {"sketch": {"pattern": "(.)"}, "phone": {"column": "site"}},
        {"pattern": {"column": "site"}},  # a test set may have this name
    ],
)
def test_rules_of_groups_are_read_again_as_they_were_written(rules: dict[str, Any]) -> None:
    recipe = parse_recipe(SMALL | groups(rules))
    again = parse_recipe(yaml.safe_load(recipe_yaml(recipe)))
    assert again == recipe
    found = recipe.data.groups
    assert isinstance(found, dict) == all(isinstance(rule, dict) for rule in rules.values())
    assert not isinstance(found, dict) or found.keys() == rules.keys()
    assert parse_recipe(SMALL).data.groups is None


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(UserError) as caught:
        parse_recipe(SMALL | {"trian": {}, "train": {"steps": -1}})
    assert len(str(caught.value).splitlines()) == 2


def test_more_than_three_mistakes_are_counted() -> None:
    with pytest.raises(UserError) as caught:
        parse_recipe(SMALL | dict.fromkeys(("trian", "arm", "sweeps", "titel", "sed"), 1))
    *first, last = str(caught.value).splitlines()
    assert ["unknown key" in line for line in first] == [True, True] and "3 more mistakes" in last


def test_an_arm_overrides_the_training_of_the_study() -> None:
    arms = [{"name": "both", "mixture": ["real", "generated"], "train": {"augmentation": "randaugment"}}]
    recipe = parse_recipe({"name": "small", "reference": "both", "train": {"batch_size": 64}, "arms": [*arms, REAL]})
    own = recipe.train_of(recipe.arms[0])
    assert (str(own.augmentation), own.steps, own.batch_size) == ("randaugment", 600, 64)
    assert recipe.train_of(recipe.arm("real")) == recipe.train
    assert recipe.sources() == {"real", "generated"}


def test_retrieved_images_may_be_a_path_alone() -> None:
    found = [parse_recipe(SMALL | {"data": {"retrieved": place}}).data for place in ("a", {"path": "a"}, None, {})]
    assert found[0] == found[1] != found[2] == found[3]
    assert found[0].retrieved.path == Files(path="a") and found[2].search_clip == "pictograms"
    given = {"path": "a", "search": "b", "clip": "c", "per_class": 3}
    given |= {"without": {"cells": ["*/emoji"]}}
    recipe = parse_recipe(SMALL | {"data": {"retrieved": given}})
    assert recipe.model_dump(mode="json")["data"]["retrieved"] == given
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_a_weight_of_one_part_alone_and_a_whole_fraction_change_nothing() -> None:
    weighted = {**REAL, "mixture": [{"source": "real", "weight": 3, "fraction": 1}]}
    assert parse_recipe(SMALL | {"arms": [weighted]}) == parse_recipe(SMALL | {"arms": [REAL]})


def test_an_average_acts_up_to_the_bound_of_its_steps() -> None:
    assert TrainConfig(ema_decay=0.999).effective == TrainConfig().effective != TrainConfig(ema_decay=0.9).effective
    long = TrainConfig(steps=2000)
    assert long.effective == long != TrainConfig(steps=2000, ema_decay=0.999).effective


def test_a_training_s_length_is_steps_or_epochs() -> None:
    long, short = REAL | {"name": "long", "train": {"epochs": 4}}, REAL | {"name": "short", "train": {"steps": 7}}
    arms = [REAL, long, short]
    recipe = parse_recipe(SMALL | {"train": {"epochs": 2, "batch_size": 64}, "arms": arms})
    assert [recipe.train_of(arm).steps_for(100) for arm in recipe.arms] == [4, 7, 7]  # 200 / 64, 400 / 64
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    plain = parse_recipe(SMALL | {"arms": arms})
    assert [plain.train_of(arm).steps_for(1000) for arm in plain.arms] == [600, 32, 7]  # 4,000 / 128
    assert TrainConfig(epochs=90, batch_size=256).steps_for(1_281_167) == 450_411  # rounded up


def test_a_linear_probe_takes_the_withheld_cells_alone() -> None:
    probe = {"train": {"init": "clip:pictograms", "method": "linear-probe"}}
    withheld = {"data": {"retrieved": {"without": {"cells": "*/emoji"}}}}
    raw = SMALL | withheld | arm(**probe, mixture=[{"source": "retrieved-withheld", "cells": "withheld"}])
    assert parse_recipe(raw).arms[0].mixture[0].cells == "withheld"


CLIP = {"init": "clip:pictograms"}


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({}, []),
        # An arm may inherit the network of other arms.
        ({"train": {"architecture": "resnet18"}, **arm(train=CLIP)}, []),
        ({"train": CLIP | {"blur_pool": True}}, ["train.blur_pool"]),
        ({"train": CLIP, **arm(train={"architecture": "resnet18"})}, ["arm 'real'", "train.architecture"]),
        (arm(train=CLIP | {"model_kwargs": {"a": 1}}), ["arm 'real'", "train.model_kwargs"]),
        ({"data": {"extra": {"more": "x"}}}, ["data.extra.more"]),
        ({"data": {"extra": {"more": "x"}}, **arm(mixture=["real", "more"])}, []),
        ({"data": {"retrieved": {"search": "x", "clip": "y"}}}, ["data.retrieved.search", "data.retrieved.clip"]),
        ({"data": {"packed": True}}, ["data.packed"]),
        (dataset(filter={"drop": 0.019}), ["datasets.few.filter.drop", "0.019 of the 50 images"]),
        (dataset(filter={"drop": 0.02}), []),
        ({"data": {"packed": True}, "train": {"crop": "random-resized"}}, []),
    ],
)
def test_a_key_without_effect_is_named(change: dict[str, Any], keys: list[str]) -> None:
    notices = idle_keys(parse_recipe(SMALL | change))
    assert len(notices) == bool(keys)
    assert all(key in notices[0] for key in keys)


@pytest.mark.parametrize("name", recipe_names())
def test_installed_recipes_have_no_key_without_effect(name: str) -> None:
    assert idle_keys(load_recipe(name)) == []


def test_all_augmentations_are_named() -> None:
    assert TrainConfig().augmented == "standard"
    several = TrainConfig(augmentation="randaugment", cutmix=1, mixup=0.2, random_erasing=0.25, color_jitter=0.4)
    assert several.augmented == "randaugment, mixup 0.2, cutmix 1, random erasing 0.25, color jitter 0.4"


def test_a_further_folder_is_a_source() -> None:
    recipe = parse_recipe(SMALL | {"data": {"extra": {"deepaugment": "x"}}} | arm(mixture=["real", "deepaugment"]))
    assert recipe.data.extra == {"deepaugment": Files(path="x")}
    assert recipe.generated_sets() == []


def test_a_dataset_inherits_what_its_mode_uses() -> None:
    generator = {"steps": 9, "guidance_scale": 2.5, "width": 64, "height": 64, "lora": "some.safetensors"}
    redrawing = {"mode": "labels+images", "strength": 0.4}
    datasets = {
        "scratch": {"from_scratch": True},
        "more": {"from_scratch": True, "generator": {"guidance_scale": 4.0}, "class_model": {"batch_size": 2}},
        "redrawn": {"generator": redrawing},
    }
    recipe = parse_recipe(SMALL | {"generator": generator, "datasets": datasets})
    own = recipe.generation("scratch")[0]
    assert (own.mode, own.steps, own.guidance_scale, hasattr(own, "width")) == ("class", 9, 2.5, False)
    assert recipe.generation("more")[0].guidance_scale == 4.0
    sizes = [recipe.class_model_of(name).batch_size for name in ("scratch", "more")]
    assert sizes == [ClassModelConfig().batch_size, 2]
    redrawn = recipe.generation("redrawn")[0]
    assert (redrawn.width, redrawn.strength, redrawn.lora) == (64, 0.4, recipe.generation("generated")[0].lora)
    other = parse_recipe(SMALL | {"generator": redrawing, "datasets": {"plain": {"generator": {"mode": "labels"}}}})
    assert other.generation("plain")[0] == GeneratorConfig()


@pytest.mark.parametrize(
    ("arm", "than", "named"),
    [
        ("two", "one", None),
        ("two", "a", None),
        ("two", "c", "claims.0.than: .* 'two' is 'a'"),
        ("c", "one", "claims.0.than: .* 'c' is none"),
        ("one", "a", "claims.0.than: .* 'one' is none"),
        ("three", "one", "claims.0.arm: 'three' is no arm; the arms are a, b, c; the groups are one, two"),
    ],
)
def test_a_claim_compares_a_group_with_the_references_of_its_arms(arm: str, than: str, named: str | None) -> None:
    a, b = {"name": "a", "mixture": "real", "group": "one"}, {"name": "b", "mixture": "real", "group": "two"}
    raw = {"name": "groups", "reference": "a", "arms": [a, b | {"reference": "a"}, {"name": "c", "mixture": "real"}]}
    raw["claims"] = [{"says": "it helps", "arm": arm, "than": than}]
    if named is None:
        assert parse_recipe(raw).claims[0].than == than
    else:
        with pytest.raises(UserError, match=named):
            parse_recipe(raw)


def test_the_main_recipes_compare_generated_with_retrieved_images() -> None:
    main, full = load_recipe("pictograms"), load_recipe("pictograms-full")
    assert main.sources() == {"real", "generated", "retrieved"}
    assert full.sources() == main.sources()
    assert (len(main.seeds), len(full.seeds)) == (1, 3)
    assert all(arm in full.arms for arm in main.arms)
    made = {(tuple(part.source for part in arm.mixture), str(full.train_of(arm).augmentation)) for arm in full.arms}
    mixtures = {("real", *more) for more in ((), ("generated",), ("retrieved",), ("retrieved", "generated"))}
    assert set(product(mixtures, ("standard", "drawing-styles"))) <= made
    assert load_recipe("pictograms", quick=True).train.steps < main.train.steps


def test_keys_of_a_mixture_that_came_later_are_in_no_hash_at_their_defaults() -> None:
    (plain,) = parse_recipe(SMALL).arms[0].mixture
    assert plain.model_dump(mode="json") == {"source": "real", "per_class": None, "fraction": None, "weight": None}
    assert parse_recipe(SMALL | part(balance=[], cells="all")).arms[0].mixture == (plain,) and plain.drawing == {}
    recipe = parse_recipe(SMALL | part(balance=["class", "style"]))
    assert parse_recipe(yaml.safe_load(recipe_yaml(recipe))) == recipe
    assert [part.drawing_in_words for part in recipe.arms[0].mixture] == ["balanced by class and style"]


def test_the_digest_of_a_training_changes_with_the_defaults_of_the_section_and_with_nothing_else() -> None:
    assert digest(["mixture", "val", TrainConfig(precision="bfloat16"), 0, 2, "cpu"]) == "ff7aca3058fc"
