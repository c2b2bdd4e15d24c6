"""The JSON Schema of recipes takes what is a recipe, and refuses what is none at the key that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from genrobust.core import UserError, parse_yaml
from genrobust.recipe import load_recipe, parse_recipe, recipe_names, recipe_schema, recipe_yaml, set_value
from genrobust.recipe.load import BUILTIN

SCHEMA = Draft202012Validator(recipe_schema())
SMALL = """
name: small
seeds: [0]
track: true
data: {source: folders, train: a, test: b, shifts: {sketch: {path: c}, o: {kind: objectnet, path: d}}}
generator: {model: x, mode: labels+images, strength: 0.5, lora: {model: y}}
datasets: {few: {generate: {prompts: {strategy: single}}, filter: {drop: 0.1}}}
arms:
  - {name: real, mixture: real}
  - {name: both, mixture: [real, {source: generated, fraction: 0.5}], train: {steps: 5}}
claims: [{says: it helps, arm: both, than: real}]
"""


def changed(key: str, value: str) -> dict[str, Any]:
    raw = parse_yaml(SMALL, "small")
    set_value(raw, key, parse_yaml(value, key), key)
    return raw


def mistake(raw: dict[str, Any]) -> str | None:
    """The dotted key of the mistake that the schema finds first, as an editor shows it."""
    error = best_match(SCHEMA.iter_errors(raw))
    return None if error is None else ".".join(map(str, error.absolute_path))


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA.schema)
    assert json.loads(json.dumps(SCHEMA.schema)) == SCHEMA.schema


@pytest.mark.parametrize("name", recipe_names())
def test_it_takes_the_installed_recipes_as_they_are_and_with_all_values(name: str) -> None:
    for text in ((BUILTIN / f"{name}.yaml").read_bytes(), recipe_yaml(load_recipe(name))):
        assert mistake(parse_yaml(text, name)) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("arms.1.mixture", "[real, generated]"),
        ("arms.1.train", "{augmentation: randaugment, wise_ft: 0.5, init: resnet18.a1_in1k}"),
        ("arms.1.train", "{augmentation: {name: randaugment}, epochs: 5}"),
        ("arms.1.train", "{init: resnet18.a1_in1k, method: lp-ft}"),
        ("data.shifts.sketch", "folder"),
        ("data.retrieved", "folder"),
        ("data.retrieved", "null"),
        ("data.groups", "{pattern: (.*)_}"),
        ("data.groups", "{sketch: {pattern: (.*)_}, o: {column: camera, shared: false}}"),
        ("seeds", "[0, 1]"),
        ("finetune", "null"),
        ("generator", "{engine: openai, model: x, server: {url: 'http://127.0.0.1:8000/v1'}}"),
        ("generator.lora", "x"),
        ("datasets.few.generator", "{lora: {scale: 0.5}, mode: labels, steps: 4}"),
        ("train", "{learning_rate: 1e-3, wise_ft: [0, 1], init: resnet18.a1_in1k}"),
        ("quick", "{train.steps: 1, arms: [{name: real, mixture: real}]}"),
        ("sweep", "[{over: {n: [1, 2]}, arm: {name: 'n {n}', mixture: real, train: {steps: '{n}'}}}, null]"),
    ],
)
def test_it_takes_the_short_forms(key: str, value: str) -> None:
    raw = changed(key, value)
    assert mistake(raw) is None
    parse_recipe({key: value for key, value in raw.items() if key != "quick"})


def test_every_number_is_bounded() -> None:
    def bounds(schema: Any) -> Iterator[set[str]]:
        if isinstance(schema, dict) and schema.get("type") in ("integer", "number"):
            yield {key.removeprefix("exclusive").lower() for key in schema} & {"minimum", "maximum"}
        for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
            yield from bounds(inner)

    found = list(bounds(SCHEMA.schema))
    assert len(found) > 50 and all(len(of) == 2 for of in found)


def test_a_sweep_may_have_all_the_arms() -> None:
    raw = changed("sweep", "[{over: {n: [1]}, arm: {name: 'real {n}', mixture: real}}]")
    assert mistake({key: value for key, value in raw.items() if key != "arms"}) is None
    assert mistake({"name": "x"}) == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "a/b"),
        ("name", "5"),
        ("reference", "''"),
        ("seeds", "3"),
        ("threads", "two"),
        ("track", "mlflow"),
        ("data.source", "folder"),
        ("data.shifts.o.kind", "objectnets"),
        ("data.shifts.o.map", "half"),
        ("data.shifts.sketch", "5"),
        ("data.groups", "[a]"),
        ("generator.engine", "midjourney"),
        ("generator.mode", "text"),
        ("generator.lora.scale", "x"),
        ("generate.per_class", "1.5"),
        ("generate.prompts.strategy", "many"),
        ("datasets.few.generate.split", "test"),
        ("datasets.few.filter.drop", "1"),
        ("class_model.components", "none"),
        ("train.wise_ft", "{a: 1}"),
        ("train.augmentation", "randaugmnt"),
        ("arms.1.mixture", "{source: real}"),
        ("arms.1.train.method", "5"),
        ("arms.1.train.optimizer", "lion"),
        ("claims.0.says", "[a]"),
        ("quick", "[train.steps]"),
        ("sweep", "{over: {n: [1]}}"),
        ("sweep", "[{over: {n: 1}, arm: {name: x}}]"),
    ],
)
def test_a_wrong_value_is_refused_at_its_key(key: str, value: str) -> None:
    raw = changed(key, value)
    assert (mistake(raw) or "").removesuffix(".0.over.n") == key
    if key != "quick":  # which is no part of a Recipe
        with pytest.raises(UserError):
            parse_recipe(raw)


@pytest.mark.parametrize(
    ("where", "key", "owner"),
    [
        ("", "trian", None),
        ("train", "stepss", None),
        ("generate.prompts", "file_name", None),
        ("arms.1", "weight", None),
        ("arms.1.train", "lr", None),
        ("arms.1.mixture.1", "wieght", None),
        ("datasets.few.generator", "sampler", None),
        ("data.shifts.sketch", "map", "objectnet"),
        ("data", "root", "imagenet"),
        ("generator", "server", "openai"),
        ("generator", "adapter", "images"),
        ("class_model", "method", "finetune"),
    ],
)
def test_an_unknown_key_and_one_of_another_model_are_refused_in_their_section(
    where: str, key: str, owner: str | None
) -> None:
    raw = changed(f"{where}.{key}".lstrip("."), "x")
    error = best_match(SCHEMA.iter_errors(raw))
    assert error is not None and error.validator == "additionalProperties" and f"'{key}'" in error.message
    assert mistake(raw) == where
    with pytest.raises(UserError):
        parse_recipe(raw)


def test_it_has_the_keys_of_plug_ins(install: Callable[..., None]) -> None:
    code = "from genrobust import Augmentation\nclass Gray(Augmentation):\n    share: float = 0.5\n"
    install("genrobust.augmentations", "gray_pack", code, gray="gray_pack:Gray")
    schema = Draft202012Validator(recipe_schema())
    for value, is_right in (("gray", True), ("{name: gray, share: 0.1}", True), ("{name: gray, part: 1}", False)):
        assert schema.is_valid(changed("train", f"{{augmentation: {value}}}")) is is_right


def test_the_command_prints_it() -> None:
    from small_study import genrobust

    assert json.loads(genrobust("list", "schema").stdout) == SCHEMA.schema
