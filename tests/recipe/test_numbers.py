"""Every number of a recipe has bounds with a reason; what is no number, or none of these, is refused by its key."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterator
from itertools import product
from typing import Annotated, Any, get_args, get_origin

import pytest

from genrobust.core import UserError
from genrobust.recipe import Between, Recipe, Section, checked, parse_recipe

REAL = {"name": "real", "mixture": "real"}
Place = tuple[str | int, ...]


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
NONE = [True, "many", "", "0x10", "010", "1_000", "\uff15", "nan", math.inf, 1e300, "1" * 100, [1], {"a": 1}]


class Example(Section):
    share: Annotated[float, Between(0, 1, "it is a share", above=True)] = 0.5
    count: Annotated[int, Between(1, 4096, "memory")] = 1


def test_every_number_has_finite_bounds_with_a_reason() -> None:
    assert {"seeds.0", "threads", "train.steps", "arms.0.mixture.0.weight", "train.workers"} <= {*KEYS}
    for place, bounds, _ in NUMBERS:
        assert bounds is not None and bounds.why and math.isfinite(bounds.least) and math.isfinite(bounds.most), place


@pytest.mark.parametrize(
    ("key", "value"), [*product(["share", "count"], NONE), ("share", 0), ("count", 0), ("count", 2.5)]
)
def test_what_is_no_such_number_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^here: {key}: "):
        checked(Example, {key: value}, "here")


def test_bounds_say_why() -> None:
    with pytest.raises(ValueError, match=r"give a number above 0, up to 1: it is a share \(got 2\)"):
        checked(Example, {"share": 2}, "here")
    assert checked(Example, {"share": "1e-3", "count": "20"}, "here") == Example(share=1e-3, count=20)


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
