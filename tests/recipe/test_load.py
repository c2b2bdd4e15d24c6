"""Recipes: what is refused and how it is said, what --set and --quick change, and that the installed ones parse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genrobust.core.errors import UserError
from genrobust.core.keys import digest
from genrobust.recipe.classify import TrainConfig
from genrobust.recipe.generate import GeneratorConfig
from genrobust.recipe.load import Recipe, load_recipe, parse_recipe, recipe_names

SMALL: dict[str, Any] = {"name": "small", "arms": [{"name": "real", "mixture": "real"}]}


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\n"
        "train: {steps: 500, batch_size: 64}\n"
        "arms:\n"
        "  - {name: real, mixture: real}\n"
        "  - {name: both, mixture: [real, {source: generated, fraction: 0.5}], train: {augmentation: randaugment}}\n"
        "quick: {train.steps: 50, seeds: [7]}\n"
    )
    return path


def test_a_mixture_of_names_becomes_parts(recipe_file: Path) -> None:
    recipe = load_recipe(str(recipe_file))
    assert [(p.source, p.fraction) for p in recipe.arms[1].mixture] == [("real", None), ("generated", 0.5)]
    assert recipe.sources() == {"real", "generated"}


def test_an_arm_overrides_the_training_of_the_study(recipe_file: Path) -> None:
    recipe = load_recipe(str(recipe_file))
    own = recipe.train_of(recipe.arms[1])
    assert (own.augmentation, own.steps, own.batch_size) == ("randaugment", 500, 64)
    assert recipe.train_of(recipe.arms[0]) == recipe.train


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trian": {}}, "unknown key trian; did you mean train?"),
        ({"sweeps": []}, "unknown key sweeps; did you mean sweep?"),
        ({"train": {"step": 5}}, "unknown key train.step; did you mean steps?"),
        ({"data": {"sauce": "folders"}}, "unknown key data.sauce; did you mean source?"),
        (
            {"generate": {"prompts": {"xyzzy": 1}}},
            "unknown key generate.prompts.xyzzy; known here: strategy",
        ),
        ({"execute": {"num_gpus": 1.5}}, "execute: num_gpus: 1.5 is more than one GPU, so it must be a whole number"),
        ({"train": {"steps": 0}}, "train.steps: input should be greater than 0 (got 0)"),
        ({"train": {"momentum": 1.5}}, "train.momentum: input should be less than or equal to 1 (got 1.5)"),
        ({"train": {"optimizer": "adam"}}, "train.optimizer: input should be 'adamw' or 'sgd' (got 'adam')"),
        ({"train": {"steps": "many"}}, "train.steps: input should be a valid integer"),
        ({"data": {"source": "folders"}}, "source: folders needs the keys train and test"),
        ({"data": {"extra": {"retrieved": "x"}}}, "data.extra: the name retrieved is taken; give this one another"),
        ({"data": {"extra": {"few": "x"}}, "datasets": {"few": {}}}, "data.extra: the name few is taken"),
        ({"train": {"steps": 5, "epochs": 2}}, "train: give either steps or epochs"),
        ({"train": {"steps": None}}, "train: give either steps or epochs"),
        ({"train": {"epochs": 0}}, "train.epochs: input should be greater than 0 (got 0)"),
        ({"train": {"random_erasing": 2}}, "train.random_erasing: input should be less than or equal to 1 (got 2)"),
        ({"train": {"mixup": -0.1}}, "train.mixup: input should be greater than or equal to 0 (got -0.1)"),
        ({"train": {"split_batchnorm": True}}, "arm 'real': split_batchnorm tells real images from others"),
        (
            {"train": {"split_batchnorm": True}, "arms": [{"name": "real", "mixture": ["generated", "retrieved"]}]},
            "arm 'real': split_batchnorm keeps the batch norms of real images, and the mixture has none: add real",
        ),
        (
            {"train": {"split_batchnorm": True}, "arms": [{"name": "real", "mixture": ["real", "generated"]}]},
            "arm 'real': split_batchnorm needs as many images of each source in every batch: give each source a weight",
        ),
        ({"arms": []}, "one arm or more"),
        ({"arms": SMALL["arms"] * 2}, "two arms share a name"),
        ({"arms": [{"name": "real", "mixture": ["real", "real"]}]}, "names each source once"),
        (
            {"arms": [{"name": "real", "mixture": ["generated", {"source": "real", "weight": 2}]}]},
            "arm 'real': give every part of the mixture a weight, or none",
        ),
        (
            {"datasets": {"v": {"generate": {"split": "val"}}}, "arms": [{"name": "real", "mixture": ["real", "v"]}]},
            "arm 'real' trains on 'v', which is generated with split: val",
        ),
        (
            {"generate": {"split": "val"}, "arms": [{"name": "real", "mixture": "generated"}]},
            "arm 'real' trains on 'generated', which is generated with split: val",
        ),
        ({"generate": {"split": "test"}}, "generate.split: input should be 'train' or 'val' (got 'test')"),
        ({"datasets": {"real": {}}}, "the name real is taken"),
        ({"datasets": {"few": {"generate": {"prompts": {"strategi": "single"}}}}}, "did you mean strategy?"),
        ({"datasets": {"few": {"generator": {"steps": 0}}}}, "datasets.few.generator: steps: "),
        ({"datasets": {"few": {"filter": {}}}}, "give either drop"),
        ({"datasets": {"few": {"filter": {"drop": 0.1, "by": "clip"}}}}, "the key clip, a folder, goes with by: clip"),
        ({"datasets": {"few": {"filter": {"drop": 0.1, "arm": "x"}}}}, "datasets.few.filter.arm: no arm 'x'"),
        ({"datasets": {"few": {}}, "generator": None}, "each changes the recipe's generator, and there is none"),
        ({"datasets": {"own": {"from_scratch": True}}, "generator": None}, "and there is none"),
        ({"datasets": {"own": {"from_scratch": True, "finetuned": True}}}, "two ways to a generator: choose one"),
        (
            {"datasets": {"own": {"from_scratch": True, "generator": {"model": "x"}}}},
            "datasets.own: generator.model: from_scratch trains its own generator",
        ),
        (
            {"datasets": {"own": {"from_scratch": True, "generator": {"mode": "images"}}}},
            "datasets.own: generator.mode: from_scratch draws in mode class, not images",
        ),
        ({"datasets": {"own": {"from_scratch": True, "generator": {"width": 64}}}}, "mode class does not use the key"),
        ({"class_model": {"deep": 3}}, "unknown key class_model.deep; did you mean depth?"),
        ({"class_model": {"width": 100, "heads": 3}}, "class_model: width is 100: it must be a multiple of heads (3)"),
        ({"class_model": {"steps": 9, "warmup_steps": 9}}, "class_model: warmup_steps is 9 of 9 steps"),
        ({"finetune": {"step": 3}}, "unknown key finetune.step; did you mean steps?"),
        ({"arms": [{"name": "real", "mixture": "reel"}]}, "no source 'reel'; there are generated, real, retrieved"),
        ({"reference": "none"}, "'none' is no arm; the arms are real"),
        ({"arms": [SMALL["arms"][0] | {"reference": "b"}]}, "arm 'real': reference: 'b' is no arm; the arms are real"),
        ({"arms": [SMALL["arms"][0] | {"group": "real"}]}, "'real' is the name of an arm and of a group: rename one"),
        ({"seeds": [1, 1]}, "each once"),
        ({"seeds": []}, "one or more"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_recipe(SMALL | change, where="mine.yaml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("mine.yaml: ")


def test_a_training_s_length_is_steps_or_epochs() -> None:
    arms = [
        {"name": "real", "mixture": "real"},
        {"name": "long", "mixture": "real", "train": {"epochs": 4}},
        {"name": "short", "mixture": "real", "train": {"steps": 7}},
    ]
    recipe = parse_recipe(SMALL | {"train": {"epochs": 2, "batch_size": 64}, "arms": arms})
    assert [recipe.train_of(arm).steps_for(100) for arm in recipe.arms] == [4, 7, 7]  # 200 / 64, 400 / 64
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    plain = parse_recipe(SMALL | {"arms": arms})
    assert [plain.train_of(arm).steps_for(1000) for arm in plain.arms] == [600, 32, 7]  # 4,000 / 128
    assert TrainConfig(epochs=90, batch_size=256).steps_for(1_281_167) == 450_411  # rounded up


def test_all_augmentations_are_named() -> None:
    assert TrainConfig().augmented == "standard"
    several = TrainConfig(augmentation="randaugment", cutmix=1, mixup=0.2, random_erasing=0.25, color_jitter=0.4)
    assert several.augmented == "randaugment, mixup 0.2, cutmix 1, random erasing 0.25, color jitter 0.4"


def test_a_further_folder_is_a_source() -> None:
    arms = [{"name": "real", "mixture": ["real", "deepaugment"]}]
    recipe = parse_recipe(SMALL | {"data": {"extra": {"deepaugment": "some/folder"}}, "arms": arms})
    assert recipe.data.extra == {"deepaugment": Path("some/folder")}
    assert recipe.generated_sets() == []


def test_a_dataset_takes_over_what_its_mode_uses() -> None:
    generator = {"steps": 9, "guidance_scale": 2.5, "width": 64, "height": 64, "lora": "some.safetensors"}
    datasets = {
        "scratch": {"from_scratch": True},
        "more": {"from_scratch": True, "generator": {"guidance_scale": 4.0}},
        "redrawn": {"generator": {"mode": "labels+images", "strength": 0.4}},
    }
    recipe = parse_recipe(SMALL | {"generator": generator, "datasets": datasets})
    own = recipe.generation("scratch")[0]
    assert (own.mode, own.steps, own.guidance_scale, own.width, own.lora) == ("class", 9, 2.5, None, None)
    assert recipe.generation("more")[0].guidance_scale == 4.0
    redrawn = recipe.generation("redrawn")[0]
    assert (redrawn.width, redrawn.strength, redrawn.lora) == (64, 0.4, recipe.generation("generated")[0].lora)
    back = {"mode": "labels+images", "strength": 0.4}
    other = parse_recipe(SMALL | {"generator": back, "datasets": {"plain": {"generator": {"mode": "labels"}}}})
    assert other.generation("plain")[0] == GeneratorConfig()


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        parse_recipe(SMALL | {"trian": {}, "train": {"steps": -1}})
    assert len(str(caught.value).splitlines()) == 2


def test_an_arm_s_own_training_is_checked_too() -> None:
    arm = {"name": "real", "mixture": "real", "train": {"stpes": 5}}
    with pytest.raises(UserError, match="stpes"):
        parse_recipe(SMALL | {"arms": [arm]})


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train.steps=200", lambda r: r.train.steps == 200),
        ("train.learning_rate=1.5e-3", lambda r: r.train.learning_rate == 1.5e-3),
        ("seeds=[3, 4]", lambda r: r.seeds == (3, 4)),
        ("title=a=b", lambda r: r.title == "a=b"),
        ("data.val=null", lambda r: r.data.val is None),
        ("train.model_kwargs.drop_rate=0.1", lambda r: r.train.model_kwargs == {"drop_rate": 0.1}),
        ("arms.1.name=mixed", lambda r: r.arms[1].name == "mixed"),
    ],
)
def test_set_overrides_a_key(recipe_file: Path, override: str, read: Any) -> None:
    assert read(load_recipe(str(recipe_file), [override]))


def test_the_last_override_of_a_key_holds(recipe_file: Path) -> None:
    assert load_recipe(str(recipe_file), ["train.steps=1", "train.steps=2"]).train.steps == 2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.steps", "write key=value"),
        ("=5", "write key=value"),
        ("train.steps=[1", "not valid YAML"),
        ("train.step=5", "did you mean steps?"),
        ("name.sub=5", "is no section of the recipe|no key here"),
        ("arms.9.name=x", "'9' is no section of the recipe"),
    ],
)
def test_a_bad_override_is_refused(recipe_file: Path, override: str, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        load_recipe(str(recipe_file), [override])


def test_quick_applies_its_section_and_renames_the_study(recipe_file: Path) -> None:
    full, quick = load_recipe(str(recipe_file)), load_recipe(str(recipe_file), quick=True)
    assert (full.name, full.train.steps, full.seeds) == ("small", 500, (0,))
    assert (quick.name, quick.train.steps, quick.seeds) == ("small-quick", 50, (7,))
    assert quick.train.batch_size == 64


def test_set_wins_over_quick(recipe_file: Path) -> None:
    assert load_recipe(str(recipe_file), ["train.steps=9"], quick=True).train.steps == 9


def test_quick_without_a_section_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text("name: long\narms: [{name: real, mixture: real}]\n")
    with pytest.raises(UserError, match="no quick section"):
        load_recipe(str(path), quick=True)


@pytest.mark.parametrize(
    ("text", "said"), [("a: [1", "not valid YAML"), ("- 1", "a mapping of keys; this is list"), ("", "NoneType")]
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        load_recipe(str(path))
    assert str(path) in str(caught.value)


def test_a_tag_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text(f"name: !!python/object/apply:os.system ['touch {tmp_path / 'ran'}']\n")
    with pytest.raises(UserError, match="not valid YAML"):
        load_recipe(str(path))
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the recipe .*none\.yaml"):
        load_recipe(str(tmp_path / "none.yaml"))


def test_an_unknown_name_gets_the_near_one() -> None:
    with pytest.raises(UserError, match="did you mean pictograms"):
        load_recipe("pictogram")


@pytest.mark.parametrize("name", recipe_names())
def test_installed_recipes_parse(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.title
    assert recipe.question
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_the_main_recipes_compare_generated_with_retrieved_images() -> None:
    main, full = load_recipe("pictograms"), load_recipe("pictograms-full")
    assert {"pictograms", "pictograms-full"} <= set(recipe_names())
    assert main.sources() == {"real", "generated", "retrieved"}
    assert full.sources() == main.sources() | {"retrieved-by-class"}
    assert (len(main.seeds), len(full.seeds)) == (1, 3)
    assert main.arms == full.arms[: len(main.arms)]
    quick = load_recipe("pictograms", quick=True)
    assert quick.train.steps < main.train.steps


def test_claims_name_arms_and_two_of_them() -> None:
    with pytest.raises(UserError, match=r"claims\.0\.than: 'reel' is no arm; the arms are real"):
        load_recipe("pictograms", ["claims=[{says: it helps, arm: generated, than: reel}]"])
    with pytest.raises(UserError, match="compares 'real' with itself"):
        load_recipe("pictograms", ["claims=[{says: it helps, arm: real, than: real}]"])


def test_a_claim_about_a_group_is_against_what_the_group_is_compared_with() -> None:
    grouped = "{name: a, mixture: real, group: one}, {name: b, mixture: real, group: two, reference: a}"
    claims = "claims=[{{says: it helps, arm: {}, than: {}}}]"

    def recipe(arm: str, than: str) -> Recipe:
        return load_recipe(
            "pictograms", [f"arms=[{grouped}, {{name: c, mixture: real}}]", "reference=a", claims.format(arm, than)]
        )

    assert recipe("two", "one").claims[0].than == "one"
    assert recipe("two", "a").claims[0].than == "a"
    with pytest.raises(UserError, match=r"claims\.0: .* those of 'two' are a"):
        recipe("two", "c")
    with pytest.raises(UserError, match=r"claims\.0: .* those of 'c' are none"):
        recipe("c", "one")
    with pytest.raises(
        UserError, match=r"claims\.0\.arm: 'three' is no arm; the arms are a, b, c; the groups are one, two"
    ):
        recipe("three", "one")


def test_the_headline_is_three_mixtures_over_three_architectures_beside_the_full_study() -> None:
    headline, full, augmented = (load_recipe(name) for name in ("headline", "pictograms-full", "augmentations"))
    groups = headline.groups()
    assert list(groups) == ["real", "generated", "real+generated"]
    for group, arms in groups.items():
        networks = [headline.train_of(headline.arm(arm)).architecture for arm in arms]
        assert len(set(networks)) == 3
        assert [headline.references()[arm] for arm in arms] == groups["real"]
        assert {headline.arm(arm).mixture for arm in arms} == {full.arm(group).mixture}
        small = headline.arm(arms[networks.index("resnet10t")])
        if group != "generated":  # which is no arm of that study; the two share the others' checkpoints
            assert headline.train_of(small) == augmented.train_of(augmented.arm(group))
    assert headline.generation("generated") == full.generation("generated")  # and the images
    assert (headline.data, headline.data_seed, headline.seeds) == (full.data, full.data_seed, full.seeds)


def test_workers_leave_the_folders_of_trainings_by_one_where_they_were() -> None:
    """The digest was taken before there were workers: it changes with the defaults of the section, and with nothing."""
    assert digest(["mixture", "val", TrainConfig(precision="bfloat16"), 0, 2, "cpu"]) == "35a7b6cfba95"
    assert digest(TrainConfig(workers=1).model_dump(exclude={"save_every"})) == digest(
        TrainConfig().model_dump(exclude={"save_every"})
    )
    recipe = parse_recipe({**SMALL, "train": {"workers": 4}})
    assert recipe.train_of(recipe.arms[0]).workers == 4
    assert digest(recipe.train) != digest(TrainConfig())


def test_workers_share_a_batch_equally() -> None:
    with pytest.raises(UserError, match="train: workers: 3 cannot share a batch_size of 128 equally: make batch_size"):
        parse_recipe({**SMALL, "train": {"workers": 3}})
