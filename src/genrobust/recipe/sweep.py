"""Sweeps: arms and datasets from templates, one for each combination of values.

``sweep`` is a list of sweeps::

    sweep:
      - over: {amount: [6, 11], model: [{architecture: resnet18}, {architecture: vgg16_bn}]}
        dataset: {name: "diverse {amount}", generate: {per_class: "{amount}"}}
        arm: {name: "{model.architecture}, {amount} a class", mixture: "diverse {amount}", train: "{model}"}

``{amount}`` is a placeholder. ``{model.architecture}`` is one too: a key of a value that is a mapping. A text that
consists of one placeholder becomes the value, with its type. ``arm`` and ``dataset`` may also be lists. A dataset's
``name`` becomes its key under ``datasets``, the rest its section.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from genrobust.core import UserError
from genrobust.recipe.names import MOST_NAMED
from genrobust.recipe.section import Section, checked, near_or_known, shown

_PLACEHOLDER = re.compile(r"\{([^\W\d]\w*(?:\.\w+)*)\}")


class Template(Section):
    """An arm or a dataset, whose values may have placeholders."""

    model_config = ConfigDict(extra="allow")
    name: str


Templates = Annotated[
    list[Template],
    BeforeValidator(lambda value: [value] if isinstance(value, dict) else value),
    Field(min_length=1),
]


class SweepConfig(Section):
    """The templates of arms and datasets, and the values of each name in their placeholders."""

    over: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]
    dataset: Templates | None = None
    arm: Templates


def expand(raw: Mapping[str, Any], where: str = "recipe") -> dict[str, Any]:
    """Expand the sweeps of a raw recipe into `arms` and `datasets`; without ``sweep``, return a copy.

    The arms follow the listed ones, sweep by sweep; the last name of a sweep changes fastest. Equal datasets are one.

    Raises:
        UserError: An unknown key or placeholder, or two different datasets of one name.
    """
    rest = {key: value for key, value in raw.items() if key != "sweep"}
    sweeps, arms, datasets = (
        raw.get(key) or kind() for key, kind in (("sweep", list), ("arms", list), ("datasets", dict))
    )
    if not isinstance(sweeps, list):
        raise UserError(f"{where}: sweep: a list of sweeps, each begun with '- over:' (got {shown(sweeps)})")
    if not sweeps or not isinstance(arms, list) or not isinstance(datasets, dict):
        return rest  # whose validation reports the mistake
    arms, datasets = list(arms), dict(datasets)
    for i, sweep in enumerate(sweeps):
        if sweep is None:  # left out, as by --set sweep.1=null
            continue
        try:
            for kind, filled in _expand(sweep, f"sweep.{i}"):
                if kind == "arm":
                    arms.append(filled)
                elif datasets.setdefault(name := filled.pop("name"), filled) != filled:
                    raise ValueError(f"sweep.{i}.dataset.name: a second, different dataset {name!r}: add a placeholder")
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
    return {**rest, "arms": arms, **({"datasets": datasets} if datasets else {})}


def _expand(raw: Any, where: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the datasets and arms of a sweep, each with its kind."""
    sweep = checked(SweepConfig, raw, where)
    templates = [
        (kind, template.model_dump()) for kind in ("dataset", "arm") for template in getattr(sweep, kind) or ()
    ]
    if (cells := math.prod(map(len, sweep.over.values()))) > MOST_NAMED:
        raise ValueError(f"{where}.over: {cells:,} combinations: a readable report has at most {MOST_NAMED:,} arms")
    expanded = []
    for cell in product(*sweep.over.values()):
        values = dict(zip(sweep.over, cell, strict=True))
        for kind, template in templates:
            try:
                filled = _fill(template, values) | {"name": _fill_text(template["name"], values)}
            except LookupError as error:
                raise ValueError(f"{where}.{kind}: unknown placeholder {error.args[0]}") from None
            expanded.append((kind, filled))
    return expanded


def _fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Return `template` with the placeholders in its texts filled; its keys stay as they are."""
    if isinstance(template, dict):
        return {key: _fill(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [_fill(value, values) for value in template]
    if not isinstance(template, str):
        return template
    alone = _PLACEHOLDER.fullmatch(template)
    return _look_up(alone[1], values) if alone else _fill_text(template, values)


def _fill_text(template: str, values: Mapping[str, Any]) -> str:
    def filled(match: re.Match[str]) -> str:
        value = _look_up(match[1], values)
        return value if isinstance(value, str) else json.dumps(value, default=str)  # true and null, as YAML has them

    return type(template)(_PLACEHOLDER.sub(filled, template))  # a path of `--set` stays one


def _look_up(dotted: str, values: Any) -> Any:
    for key in dotted.split("."):
        if not isinstance(values, Mapping) or key not in values:
            known = f"; {near_or_known(key, map(str, values))}" if isinstance(values, Mapping) else ""
            raise LookupError(f"{{{dotted}}}{known}")
        values = values[key]
    return values
