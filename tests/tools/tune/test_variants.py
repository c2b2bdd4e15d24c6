"""The variants of a recipe's arms that tuning tries."""

import pytest
from small_study import recipe_of

from genrobust.core import UserError
from genrobust.recipe import GENERATED, parse_recipe
from genrobust.tools.tune.variants import variants

MIXED = {"name": "mixed", "mixture": [{"source": "real", "weight": 1}, {"source": "generated", "weight": 1}]}
ARMS = [
    {"name": "real", "mixture": "real"},
    MIXED,
    {"name": "auto", "mixture": "real", "train": {"augmentation": "augmix"}},
]
OVER = {
    "train.augmentation": ["augmix"],
    "weight": [2],
    "dataset.generator.guidance_scale": [5],
    "dataset.filter": [{"by": "classifier", "arm": "real", "drop": 0.5}],
}


def any_key(arm, key):
    return True


@pytest.fixture
def raw():
    return recipe_of(arms=ARMS).model_dump(mode="json")


def test_arms_come_first_and_then_all_combinations(raw):
    found = list(variants(raw, OVER, GENERATED, any_key))
    assert [variant.name for variant in found[:3]] == ["real", "mixed", "auto"]
    assert len([variant for variant in found if variant.name.startswith("mixed")]) == 2**4
    assert all(variant.chosen for variant in found[3:])


@pytest.mark.parametrize(
    ("over", "changed"),
    [
        ({"train.batch_size": [8], "dataset.generate.batch_size": [8]}, 1 + 3),  # of real, and of mixed
        ({"dataset.generate.prompts": [{"templates": [f"{'an old photograph ' * 9}of a {{}}, {n}"]} for n in "12"]}, 2),
        ({"dataset.filter": [None, {"by": "classifier", "arm": "real", "drop": 0.5}]}, 2),
    ],
)
def test_each_variant_has_a_name_and_a_dataset_of_its_own(over, changed):
    raw = recipe_of(arms=ARMS[:2]).model_dump(mode="json")
    found = list(variants(raw, over, GENERATED, any_key))[2:]
    assert len(found) == len({variant.name for variant in found}) == changed
    datasets = {name: dataset for variant in found for name, dataset in variant.datasets.items()}
    assert len(datasets) == len({str(dataset) for dataset in datasets.values()})
    assert parse_recipe({**raw, "arms": [*raw["arms"], *(variant.arm for variant in found)], "datasets": datasets})


def test_every_variant_is_an_arm_of_its_own_images_and_training(raw):
    found = {variant.name: variant for variant in variants(raw, OVER, GENERATED, any_key)}
    datasets = {name: changed for variant in found.values() for name, changed in variant.datasets.items()}
    recipe = parse_recipe({**raw, "arms": [variant.arm for variant in found.values()], "datasets": datasets})
    changed = recipe.arm(next(name for name, variant in found.items() if len(variant.chosen) == 4))
    assert recipe.train_of(changed).augmentation.name == "augmix"
    assert [part.weight for part in changed.mixture] == [1, 2]
    source = changed.mixture[1].source
    assert recipe.generation(source)[0].guidance_scale == 5
    assert recipe.filter_of(source).drop == 0.5
    assert recipe.filter_of(recipe.arm("mixed").mixture[1].source) is None
    assert raw == recipe_of(arms=ARMS).model_dump(mode="json")  # nothing in it was changed


@pytest.mark.parametrize(
    ("tune", "key"),
    [
        ({"over": {"augmentation": ["augmix"]}}, "augmentation"),
        ({"over": {"train": ["augmix"]}}, "train"),
        ({"over": {"weight": 2}}, "weight"),
        ({"over": {"weight": []}}, "weight"),
        ({"seeds": 1}, "seeds"),
        ({"by": "solid"}, "by"),
    ],
)
def test_a_mistake_is_named(tune, key):
    with pytest.raises(UserError, match=f"tune.*{key}"):
        recipe_of(tune=tune)
