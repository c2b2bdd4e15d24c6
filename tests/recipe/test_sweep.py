"""Sweeps: every combination in order, typed values, and each mistake told by its place."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from genrobust.core import UserError
from genrobust.recipe import Recipe, load_recipe, parse_recipe
from genrobust.recipe.sweep import expand

REAL = {"name": "real", "mixture": "real"}
GUIDED = {
    "over": {"guidance": [1.5, 3], "amount": [2, 4]},
    "dataset": {"name": "guided {guidance}", "generator": {"guidance_scale": "{guidance}"}},
    "arm": {
        "name": "{guidance}, {amount} a class",
        "mixture": [
            {"source": "real", "weight": 1},
            {"source": "guided {guidance}", "per_class": "{amount}", "weight": 1},
        ],
    },
}
MODELS = [{"architecture": "resnet10t", "model_kwargs": {"stem_width": 16}}, {"architecture": "regnetx_002"}]


def swept(*sweeps: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"name": "small", "arms": [REAL], "sweep": list(sweeps), **rest}


def test_every_combination_makes_an_arm_in_order_after_those_listed() -> None:
    made = expand(swept(GUIDED))
    assert "sweep" not in made
    assert [arm["name"] for arm in made["arms"]] == ["real", *(f"{g}, {n} a class" for g in (1.5, 3) for n in (2, 4))]
    assert made["arms"][2]["mixture"][1] == {"source": "guided 1.5", "per_class": 4, "weight": 1}
    assert made["datasets"] == {  # each twice in the sweep, and made once
        "guided 1.5": {"generator": {"guidance_scale": 1.5}},
        "guided 3": {"generator": {"guidance_scale": 3}},
    }


def test_a_text_that_is_one_placeholder_keeps_the_type_of_the_value() -> None:
    values = [7, 0.5, True, None, "text", [1, 2], {"key": {"deep": 3}}, "{amount}"]
    for value in values:
        sweep = {"over": {"value": [value]}, "arm": {"name": "a", "train": ["{value}", {"deep": "{value}"}]}}
        assert expand(swept(sweep))["arms"][1]["train"] == [value, {"deep": value}]  # filled once, not again
        assert type(expand(swept(sweep))["arms"][1]["train"][0]) is type(value)


def test_inside_other_text_a_value_is_written_as_in_yaml_and_a_name_is_always_text() -> None:
    sweep = {
        "over": {"flip": [True, None], "rate": [1e-3], "amount": [6]},
        "arm": {"name": "{flip} {rate}, {amount}", "note": "({amount})", "mixture": "real"},
    }
    assert [arm["name"] for arm in expand(swept(sweep))["arms"][1:]] == ["true 0.001, 6", "null 0.001, 6"]
    alone = {"over": {"amount": [6, 11]}, "arm": {"name": "{amount}", "mixture": "real"}}
    assert [arm["name"] for arm in expand(swept(alone))["arms"][1:]] == ["6", "11"]


def test_a_key_of_a_mapping_is_a_placeholder_too() -> None:
    sweep = {
        "over": {"model": MODELS},
        "arm": {"name": "{model.architecture}", "mixture": "real", "train": "{model}", "group": "nets"},
    }
    recipe = parse_recipe(swept(sweep))
    assert [arm.name for arm in recipe.arms] == ["real", "resnet10t", "regnetx_002"]
    assert [recipe.train_of(arm).architecture for arm in recipe.arms[1:]] == ["resnet10t", "regnetx_002"]
    assert recipe.arms[1].train == MODELS[0]
    assert recipe.groups() == {"nets": ["resnet10t", "regnetx_002"]}


def test_lists_make_several_arms_and_datasets_of_each_cell() -> None:
    sweep = {
        "over": {"mode": ["labels", "images"]},
        "dataset": [
            {"name": "{mode}", "generator": {"mode": "{mode}"}},
            {"name": "{mode}, sure", "generator": {"mode": "{mode}"}, "filter": {"drop": 0.1}},
        ],
        "arm": [
            {"name": "{mode} alone", "mixture": "{mode}"},
            {"name": "real + {mode}", "mixture": ["real", "{mode}"]},
        ],
    }
    recipe = parse_recipe(swept(sweep, {"over": {"part": [0.5]}, "arm": {"name": "half {part}", "mixture": "real"}}))
    assert list(recipe.datasets) == ["labels", "labels, sure", "images", "images, sure"]
    names = ["real", "labels alone", "real + labels", "images alone", "real + images", "half 0.5"]
    assert [arm.name for arm in recipe.arms] == names
    assert recipe.generation("images")[0].mode == "images"


def test_the_expanded_recipe_is_that_written_by_hand() -> None:
    arms = [REAL, {"name": "6", "mixture": [{"source": "generated", "per_class": 6}]}]
    by_hand = {"name": "small", "arms": arms, "datasets": {}}
    sweep = {"over": {"n": [6]}, "arm": {"name": "{n}", "mixture": [{"source": "generated", "per_class": "{n}"}]}}
    assert parse_recipe(swept(sweep)) == parse_recipe(by_hand)
    assert Recipe.model_validate(parse_recipe(swept(sweep)).model_dump(mode="json")) == parse_recipe(by_hand)


def test_a_template_of_prompts_keeps_its_empty_braces() -> None:
    prompts = {"strategy": "diverse", "templates": ["a {style} icon of a {}", "{}"]}
    sweep = {
        "over": {"style": ["flat"]},
        "dataset": {"name": "{style}", "generate": {"prompts": prompts}},
        "arm": {"name": "{style}", "mixture": "{style}"},
    }
    assert parse_recipe(swept(sweep)).generation("flat")[1].prompts.templates == ("a flat icon of a {}", "{}")


def test_what_is_given_is_left_as_it_was_and_without_a_sweep_nothing_changes() -> None:
    raw = swept(GUIDED, datasets={"guided 3": {"generator": {"guidance_scale": 3}}})
    before = deepcopy(raw)
    assert list(expand(raw)["datasets"]) == ["guided 3", "guided 1.5"]
    assert raw == before
    assert expand({"name": "small", "arms": [REAL]}) == {"name": "small", "arms": [REAL]}


def test_set_and_quick_apply_before_the_expansion(tmp_path: Path) -> None:
    path = tmp_path / "swept.yaml"
    path.write_text(
        "name: swept\narms: [{name: real, mixture: real}]\n"
        "sweep:\n  - over: {amount: [6, 11]}\n    arm: {name: '{amount} a class', mixture: generated}\n"
        "quick: {sweep.0.over.amount: [1, 2]}\n"
    )

    def names(*sets: str, quick: bool = False) -> list[str]:
        return [arm.name for arm in load_recipe(str(path), sets, quick).arms[1:]]

    assert names() == ["6 a class", "11 a class"]
    assert names(quick=True) == ["1 a class", "2 a class"]
    assert names("sweep.0.over.amount=[9]", quick=True) == ["9 a class"]
    assert names("sweep.0.over.amount.1=12", "sweep.0.arm.name='{amount}'") == ["6", "12"]


def test_a_sweep_is_left_out_where_null_takes_its_place() -> None:
    sweeps = [{"over": {"n": [n]}, "arm": {"name": f"{name} {{n}}"}} for n, name in enumerate("abc")]
    names = [arm["name"] for arm in expand({"sweep": [sweeps[0], None, sweeps[2]]})["arms"]]
    assert names == ["a 0", "c 2"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arm": {"name": "{amont}"}}, "sweep.1.arm: unknown placeholder {amont}; did you mean amount?"),
        (
            {"arm": [{"name": "a"}, {"name": "b", "mixture": [{"source": "{y}"}]}]},
            "sweep.1.arm: unknown placeholder {y}",
        ),
        ({"dataset": {"name": "{model.arch}"}}, "sweep.1.dataset: unknown placeholder {model.arch}"),
        ({"arm": {"name": "{amount}", "mixture": "real"}}, "arms: '6' is the name of two arms"),
        ({"over": {"amount": 6, "model": MODELS}}, "sweep.1: over.amount: input should be a valid list (got 6)"),
        ({"over": {}}, "sweep.1: over: "),
        (
            {"arm": REAL | {"name": "6 resnet10t", "group": "{amount}{model.architecture}"}},
            "arms: '6 resnet10t' is the name of two arms",
        ),
        ({"dataset": {"name": "same", "generate": {"per_class": "{amount}"}}}, "a second, different dataset 'same'"),
        ({"over": {"amount": list(range(1000)), "model": MODELS * 500}}, "sweep.1.over: 1,000,000 combinations"),
        ({"arm": None}, "sweep.1: arm: "),
        ({"arm": []}, "sweep.1: arm: "),
        ({"arm": {"mixture": "real"}}, "sweep.1: arm.0.name: field required"),
        ({"dataset": [{"name": 3}]}, "sweep.1: dataset.0.name: "),
        ({"datasets": {"name": "a"}}, "sweep.1: unknown key datasets; did you mean dataset?"),
    ],
)
def test_a_mistake_is_told_with_its_sweep_and_key(change: dict[str, Any], said: str) -> None:
    fine = {"over": {"amount": [6, 8], "model": MODELS}, "arm": {"name": "{amount} {model.architecture}"}}
    with pytest.raises(UserError) as caught:
        parse_recipe(swept(GUIDED, fine | change), where="mine.yaml")
    assert str(caught.value).startswith("mine.yaml: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sweep": {"over": {}}}, "sweep: a list of sweeps"),
        ({"sweep": ["amount"]}, "sweep.0: input should be a mapping"),
        ({"arms": "real", "sweep": [GUIDED]}, "arms: "),
        ({"datasets": ["a"], "sweep": [GUIDED]}, "datasets: "),
        ({"sweep": [{"over": {"n": [1]}, "arm": {"name": "{n}", "mixtur": "real"}}]}, "did you mean mixture?"),
    ],
)
def test_what_is_no_sweep_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_recipe(swept() | change)
    assert said in str(caught.value)


def test_a_recipe_of_sweeps_alone_needs_no_list_of_arms() -> None:
    sweep = {"over": {"amount": [6]}, "arm": [REAL, {"name": "{amount}", "mixture": "generated"}]}
    assert [arm.name for arm in parse_recipe({"name": "alone", "sweep": [sweep]}).arms] == ["real", "6"]
