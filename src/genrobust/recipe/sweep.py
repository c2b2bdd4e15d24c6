"""Sweeps: arms and datasets made from templates, one for each combination of values.

``sweep`` is a list of sweeps::

    sweep:
      - over: {amount: [6, 11], model: [{architecture: resnet18}, {architecture: vgg16_bn}]}
        dataset: {name: "diverse {amount}", generate: {per_class: "{amount}"}}
        arm: {name: "{model.architecture}, {amount} a class", mixture: "diverse {amount}", train: "{model}"}

``{amount}`` is a placeholder. So is ``{model.architecture}``, a key of a value that is a mapping. A text that is only
one placeholder becomes the value, with its type. ``arm`` and ``dataset`` may also be lists. The ``name`` of a dataset
becomes its key under ``datasets``, and the rest its section.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from genrobust.core import UserError
from genrobust.recipe.names import MOST_NAMED
from genrobust.recipe.section import Section, checked, near_or_known, shown

_PLACEHOLDER = re.compile(r"\{([^\W\d]\w*(?:\.\w+)*)\}")


class Template(Section):
    """An arm or a dataset whose values may have placeholders."""

    model_config = ConfigDict(extra="allow")
    name: str


def _as_list(value: Any) -> Any:
    """Accept one template instead of a list."""
    return [value] if isinstance(value, dict) else value


Templates = Annotated[list[Template], BeforeValidator(_as_list), Field(min_length=1)]
Values = Annotated[list[Any], Field(min_length=1)]


class SweepConfig(Section):
    """The templates of arms and datasets, and the values of each placeholder."""

    over: Annotated[dict[str, Values], Field(min_length=1)]
    dataset: Templates | None = None
    arm: Templates

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield each combination of values. The values of the last name change fastest."""
        for values in product(*self.over.values()):
            yield dict(zip(self.over, values, strict=True))


def expand(raw: Mapping[str, Any], where: str = "recipe") -> dict[str, Any]:
    """Expand the sweeps of a raw recipe into `arms` and `datasets`. Return a copy if there are none.

    The arms follow the listed ones, sweep by sweep. Two equal datasets are one.

    Args:
        where: The start of error messages.

    Raises:
        UserError: A key or a placeholder is unknown, or two different datasets have one name.
    """
    rest = {key: value for key, value in raw.items() if key != "sweep"}
    sweeps = raw.get("sweep") or []
    if not isinstance(sweeps, list):
        raise UserError(f"{where}: sweep: a list of sweeps, each begun with '- over:' (got {shown(sweeps)})")
    arms, datasets = raw.get("arms") or [], raw.get("datasets") or {}
    if not sweeps or not isinstance(arms, list) or not isinstance(datasets, dict):
        # The validation of the recipe reports wrong types.
        return rest
    arms, datasets = list(arms), dict(datasets)
    for i, sweep in enumerate(sweeps):
        # --set sweep.1=null leaves a sweep out.
        if sweep is None:
            continue
        try:
            _expand_one(sweep, f"sweep.{i}", arms, datasets)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
    expanded = {**rest, "arms": arms}
    if datasets:
        expanded["datasets"] = datasets
    return expanded


def _expand_one(raw: Any, where: str, arms: list[Any], datasets: dict[str, Any]) -> None:
    """Add the arms and datasets of one sweep."""
    sweep = checked(SweepConfig, raw, where)
    count = math.prod(map(len, sweep.over.values()))
    if count > MOST_NAMED:
        raise ValueError(f"{where}.over: {count:,} combinations: a readable report has at most {MOST_NAMED:,} arms")
    for values in sweep.combinations():
        for template in sweep.dataset or ():
            filled = _fill_template(template, values, f"{where}.dataset")
            name = filled.pop("name")
            if datasets.setdefault(name, filled) != filled:
                raise ValueError(f"{where}.dataset.name: a second, different dataset {name!r}: add a placeholder")
        for template in sweep.arm:
            arms.append(_fill_template(template, values, f"{where}.arm"))


def _fill_template(template: Template, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the section that `template` describes, with its name as a text."""
    try:
        filled: dict[str, Any] = _fill(template.model_dump(), values)
        return filled | {"name": _fill_text(template.name, values)}
    except LookupError as error:
        raise ValueError(f"{where}: unknown placeholder {error.args[0]}") from None


def _fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Return `template` with the placeholders in its texts filled. Keys have no placeholders."""
    if isinstance(template, dict):
        return {key: _fill(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [_fill(value, values) for value in template]
    if not isinstance(template, str):
        return template
    alone = _PLACEHOLDER.fullmatch(template)
    if alone:
        return _look_up(alone[1], values)
    return _fill_text(template, values)


def _fill_text(template: str, values: Mapping[str, Any]) -> str:
    def filled(match: re.Match[str]) -> str:
        value = _look_up(match[1], values)
        # JSON writes true and null as YAML does.
        if isinstance(value, str):
            return value
        return json.dumps(value, default=str)

    # A path of --set stays a `Given` text.
    return type(template)(_PLACEHOLDER.sub(filled, template))


def _look_up(dotted: str, values: Any) -> Any:
    """Return the value of a placeholder.

    Raises:
        LookupError: There is no such value. The message names the placeholder and the known ones.
    """
    for key in dotted.split("."):
        if not isinstance(values, Mapping) or key not in values:
            if isinstance(values, Mapping):
                known = f"; {near_or_known(key, map(str, values))}"
            else:
                known = ""
            raise LookupError(f"{{{dotted}}}{known}")
        values = values[key]
    return values
