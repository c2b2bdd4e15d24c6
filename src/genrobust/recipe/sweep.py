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
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from genrobust.core import UserError
from genrobust.recipe.names import MOST_NAMED
from genrobust.recipe.section import near_or_known, shown

KEYS = ("over", "dataset", "arm")
_BRACES = re.compile(r"(\{[^{}]*\})")  # splits a text so that every second piece is one of these
_PLACEHOLDER = re.compile(r"\{([^\W\d]\w*(?:\.\w+)*)\}")
_NAME = re.compile(r"[^\W\d]\w*")


def expand(raw: Mapping[str, Any], where: str = "recipe") -> dict[str, Any]:
    """Expand the sweeps of a raw recipe into `arms` and `datasets`; without ``sweep``, return a copy.

    The arms follow the listed ones, sweep by sweep; the last name of a sweep changes fastest. Equal datasets are one.

    Raises:
        UserError: An unknown placeholder, an unused name, braces that are no placeholder, no values, two arms of one
            name, or two different datasets of one name. The message names the sweep and the key.
    """
    rest = {key: value for key, value in raw.items() if key != "sweep"}
    if raw.get("sweep") is None:
        return rest
    if not isinstance(raw["sweep"], list):
        raise UserError(f"{where}: sweep: a list of sweeps, each begun with '- over:' (got {shown(raw['sweep'])})")
    listed, datasets = rest.get("arms") or [], rest.get("datasets") or {}
    if not isinstance(listed, list) or not isinstance(datasets, dict):
        return rest  # its validation reports the mistake
    arms, datasets = list(listed), dict(datasets)
    for i, sweep in enumerate(raw["sweep"]):
        if sweep is None:  # left out, as by --set sweep.1=null
            continue
        try:
            for path, filled in _expand(sweep):
                _add(filled, path, arms, datasets)
        except _SweepError as error:
            place = ".".join(["sweep", str(i), *error.path])
            raise UserError(f"{where}: {place}: {error.why}") from None
    return {**rest, "arms": arms, **({"datasets": datasets} if datasets else {})}


class _SweepError(Exception):
    """A mistake at `path`, the keys below the sweep."""

    def __init__(self, why: str, *path: str) -> None:
        super().__init__(why)
        self.why, self.path = why, path


def _add(made: dict[str, Any], path: tuple[str, ...], arms: list[Any], datasets: dict[str, Any]) -> None:
    name = made["name"]
    if path[0] == "dataset":
        del made["name"]
        if datasets.setdefault(name, made) != made:
            why = f"a second, different dataset {name!r}: add a placeholder that differs to its name"
            raise _SweepError(why, *path, "name")
    elif any(isinstance(arm, dict) and arm.get("name") == name for arm in arms):
        raise _SweepError(f"a second arm {name!r}: add a placeholder that differs to its name", *path, "name")
    else:
        arms.append(made)


def _expand(sweep: Any) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The arms and datasets of a sweep, each with the path of its template."""
    if not isinstance(sweep, dict):
        raise _SweepError(f"a sweep is a mapping with the keys {', '.join(KEYS)} (got {shown(sweep)})")
    for key in sweep.keys() - set(KEYS):
        raise _SweepError(f"unknown key; {near_or_known(str(key), KEYS)}", str(key))
    over = _checked_over(sweep.get("over"))
    templates = [*_templates(sweep, "dataset"), *_templates(sweep, "arm")]
    used = {root for path, template in templates for root in _roots(template, path, over)}
    for name in over:
        if name not in used:
            raise _SweepError(f"no arm or dataset uses it: write {{{name}}} in one", "over", name)
    cells = math.prod(map(len, over.values()))
    if cells > MOST_NAMED:
        raise _SweepError(f"{cells:,} combinations: use at most {MOST_NAMED:,} arms, for a readable report", "over")
    for cell in product(*over.values()):
        values = dict(zip(over, cell, strict=True))
        for path, template in templates:
            yield path, _fill(template, values, path) | {"name": _fill_text(template["name"], values, (*path, "name"))}


def _checked_over(over: Any) -> dict[str, list[Any]]:
    if not isinstance(over, dict) or not over:
        raise _SweepError("give one name or more, each with a list of values, such as {amount: [6, 11, 28]}", "over")
    for name, values in over.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _SweepError(f"{shown(name)} is no name: letters, digits and _, no digit first", "over")
        if not isinstance(values, list) or not values:
            raise _SweepError(f"give a list of one value or more (got {shown(values)})", "over", name)
    return over


def _templates(sweep: Mapping[str, Any], kind: str) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The templates of a sweep's arms or datasets, each with its path."""
    given = sweep.get(kind)
    if given is None and kind == "dataset":
        return
    listed = isinstance(given, list)
    templates = given if isinstance(given, list) else [given]
    if not templates:
        raise _SweepError("an empty list: give a mapping, or a list of them", kind)
    for i, template in enumerate(templates):
        path = (kind, str(i)) if listed else (kind,)
        if not isinstance(template, dict):
            raise _SweepError(f"give a mapping, or a list of them (got {shown(template)})", *path)
        if not isinstance(template.get("name"), str):
            raise _SweepError("it needs a name: a text, in quotes if it begins with a brace", *path)
        yield path, template


def _roots(template: Any, path: tuple[str, ...], over: Mapping[str, Any]) -> Iterator[str]:
    """The first names of the placeholders in `template`; refuses unknown ones and stray braces."""
    if isinstance(template, dict) and list(template.values()) == [None] and not over.keys().isdisjoint(template):
        raise _SweepError(f'YAML reads {{{next(iter(template))}}} as a mapping: put it in quotes, "{{...}}"', *path)
    if isinstance(template, dict | list):
        for key, value in template.items() if isinstance(template, dict) else enumerate(template):
            yield from _roots(value, (*path, str(key)), over)
    elif isinstance(template, str):
        for dotted in _placeholders(template, path):
            root = dotted.split(".")[0]
            if root not in over:
                raise _SweepError(f"unknown placeholder {{{dotted}}}; {near_or_known(root, over)}", *path)
            yield root


def _placeholders(text: str, path: tuple[str, ...]) -> Iterator[str]:
    """The placeholders in `text`, without braces. ``{}`` is none: it belongs to a prompt's template."""
    for i, piece in enumerate(_BRACES.split(text)):
        placeholder = _PLACEHOLDER.fullmatch(piece)
        if placeholder:
            yield placeholder[1]
        elif piece != "{}" and (i % 2 or "{" in piece or "}" in piece):
            raise _SweepError(f"{shown(text)} has braces that are no placeholder: write {{name}}, or {{}} alone", *path)


def _fill(template: Any, values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """`template` with the placeholders in its texts filled; its keys stay as they are."""
    if isinstance(template, dict):
        return {key: _fill(value, values, (*path, str(key))) for key, value in template.items()}
    if isinstance(template, list):
        return [_fill(value, values, (*path, str(i))) for i, value in enumerate(template)]
    if not isinstance(template, str):
        return template
    alone = _PLACEHOLDER.fullmatch(template)
    return _look_up(alone[1], values, path) if alone else _fill_text(template, values, path)


def _fill_text(template: str, values: Mapping[str, Any], path: tuple[str, ...]) -> str:
    def filled(match: re.Match[str]) -> str:
        value = _look_up(match[1], values, path)
        if isinstance(value, dict | list):
            raise _SweepError(f"{match[0]} is {shown(value)}, which cannot stand in a text; {{name.key}} can", *path)
        return value if isinstance(value, str) else json.dumps(value, default=str)  # true and null, as YAML has them

    return _PLACEHOLDER.sub(filled, template)


def _look_up(dotted: str, values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    root, *keys = dotted.split(".")
    value, seen = values[root], root
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            known = f"; {near_or_known(key, map(str, value))}" if isinstance(value, dict) else ""
            raise _SweepError(f"{{{dotted}}}: {seen} is {shown(value)}, without a key {key}{known}", *path)
        value, seen = value[key], f"{seen}.{key}"
    return value
