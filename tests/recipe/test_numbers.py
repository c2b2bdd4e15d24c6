"""Every number of a recipe has bounds with a reason; what is no number, or none of these, is refused by its key."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import pytest
from hypothesis import given, strategies as st

from genrobust.core import UserError
from genrobust.recipe import Recipe, parse_recipe
from genrobust.recipe.numbers import Between
from genrobust.recipe.section import Section

REAL = {"name": "real", "mixture": "real"}
Place = tuple[str | int, ...]
# What a section must have beside the number.
NEEDED: dict[str, dict[str, Any]] = {
    "arms.0.mixture.0": {"source": "real"},
    "arms.0": {"name": "real"},
    "data.shifts.x": {"path": "x", "kind": "imagenet-c"},
    "generator.lora": {"model": "x"},
    "quality": {"clip": "pictograms"},
}


def numbers(section: type[Section], place: Place = ()) -> Iterator[tuple[Place, Between | None, bool]]:
    """The place of every number in a section, with its bounds, and whether it is whole."""
    hints = typing.get_type_hints(section, include_extras=True)
    for name in section.model_fields:
        yield from _numbers(hints[name], (*place, name))


def _numbers(hint: Any, place: Place) -> Iterator[tuple[Place, Between | None, bool]]:
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Section):
        yield from numbers(hint, place)
    elif hint in (int, float):
        yield place, None, hint is int
    elif origin is Annotated and arguments[0] in (int, float):
        yield place, next((b for b in arguments[1:] if isinstance(b, Between)), None), arguments[0] is int
    elif origin is dict:
        yield from _numbers(arguments[1], (*place, "x"))
    elif origin in (tuple, Annotated, typing.Union, types.UnionType):
        for argument in arguments:
            yield from _numbers(argument, (*place, 0) if origin is tuple else place)


NUMBERS = list(numbers(Recipe))
KEYS = [".".join(map(str, place)) for place, _, _ in NUMBERS]
NONE = [True, False, "many", "", "0x10", "010", "1_000", " 5", "\uff15", "nan", "inf", "-inf", "1" * 100, [1], {"a": 1}]
NONE += [math.nan, math.inf, -math.inf, 1e300, -1e300]


def raw(place: Place, value: Any) -> dict[str, Any]:
    """A recipe that has `value` at `place`, and what else the sections on the way need."""
    for number in range(len(place) - 1, -1, -1):
        above = ".".join(map(str, place[:number]))
        key = place[number]
        value = [value] if key == 0 else {**NEEDED.get(above, {}), key: value}
    return {"name": "small", "arms": [REAL], **value}


def refusal(place: Place, value: Any) -> str:
    with pytest.raises(UserError) as caught:
        parse_recipe(raw(place, value), where="mine.yaml")
    message = str(caught.value)
    assert message.startswith("mine.yaml: ") and len(message.splitlines()) <= 3 and len(message) < 600
    assert ".".join(map(str, place)) in message
    return message


def test_numbers_are_found_in_all_sections() -> None:
    assert len(KEYS) > 60
    assert {"seeds.0", "threads", "train.steps", "arms.0.mixture.0.weight", "train.workers"} <= set(KEYS)


@pytest.mark.parametrize(("place", "bounds", "whole"), NUMBERS, ids=KEYS)
def test_each_has_bounds_with_a_reason_and_takes_nothing_else(
    place: Place, bounds: Between | None, whole: bool
) -> None:
    assert bounds is not None and bounds.why
    assert math.isfinite(bounds.least) and math.isfinite(bounds.most)
    for value in NONE:
        refusal(place, value)
    beyond = [bounds.least - 1, bounds.most + 1] if bounds.most < 1e15 else [bounds.least - 1, bounds.most * 10]
    beyond += ([bounds.least] if bounds.above else []) + ([bounds.most] if bounds.below else [])
    for value in beyond:
        assert bounds.why in refusal(place, int(value) if whole else value)
    if whole:
        refusal(place, bounds.least + 0.5)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"train": {"batch_size": 1}}, "batch norm"),
        ({"train": {"batch_size": 4, "workers": 4}}, "batch norm"),
        ({"train": {"mixup": 1e-300}}, "train.mixup: "),
        ({"train": {"cutmix": 1e-9}}, "train.cutmix: "),
        ({"arms": [REAL | {"train": {"steps": 1e12}}]}, "the train section of arm 'real': steps: "),
        ({"arms": [REAL | {"train": {"steps": True}}]}, "the train section of arm 'real': steps: "),
        ({"datasets": {"x": {"generator": {"steps": "nan"}}}}, "datasets.x.generator: steps: "),
        ({"datasets": {"x": {"generate": {"per_class": 1e9}}}}, "datasets.x.generate: per_class: "),
        ({"train": {"model_kwargs": {"a": [1, {"b": math.nan}]}}}, "train.model_kwargs: give texts, finite"),
        ({"data": {"source": "folders", "train": "a\0b"}}, "data.train: "),
        ({"data": {"source": "folders", "train": "  "}}, "data.train: an empty path"),
        ({"data": {"shifts": {"a": "b/" + "a" * 256}}}, "data.shifts.a.path: a folder or file name of more than 255"),
        ({"data": {"source": "folders", "class_names": {1: "one"}}}, "data.class_names.1"),
        ({"data": {"source": "folders", "class_names": {"one": 1}}}, "data.class_names.one: "),
        ({"data": {"source": "folders", "class_names": {"no": False}}}, "in quotes"),
        ({"b\x1b": 1}, "unknown key 'b\\x1b'"),
        ({"x" * 10_000: 1}, "unknown key xxx"),
    ],
    ids=range(17),
)  # fmt: skip
def test_what_is_too_much_together_or_no_plain_value_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_recipe({"name": "small", "arms": [REAL], **change}, where="mine.yaml")
    message = str(caught.value)
    assert named in message
    assert len(message.splitlines()) <= 3 and len(message) < 2500


def test_numbers_in_texts_count_as_numbers() -> None:
    """YAML 1.1 takes 1e-3 for a text."""
    train = {"learning_rate": "1e-3", "steps": "20", "mixup": "0.2", "weight_decay": ".5", "momentum": "1E-1"}
    made = parse_recipe({"name": "small", "arms": [REAL], "train": train}).train
    assert (made.learning_rate, made.steps, made.mixup, made.weight_decay, made.momentum) == (1e-3, 20, 0.2, 0.5, 0.1)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([place for place, _, _ in NUMBERS] + [(name,) for name in Recipe.model_fields]), VALUES)
def test_any_value_anywhere_is_taken_or_refused_by_name(place: Place, value: Any) -> None:
    try:
        parse_recipe(raw(place, value), where="mine.yaml")
    except UserError as error:
        assert str(error).startswith("mine.yaml: ")
