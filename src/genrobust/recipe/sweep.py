"""Sweeps: arms and datasets that a recipe makes from templates, one for each combination of values.

A recipe's ``sweep`` is a list of them::

    sweep:
      - over: {amount: [6, 11], model: [{architecture: resnet18}, {architecture: vgg16_bn}]}
        dataset: {name: "diverse {amount}", generate: {per_class: "{amount}"}}
        arm: {name: "{model.architecture}, {amount} a class", mixture: "diverse {amount}", train: "{model}"}

``{amount}`` is a placeholder, and so is ``{model.architecture}``, a key of a value that is a mapping. A text that is
nothing but a placeholder becomes the value, with its type. ``arm`` and ``dataset`` may also be lists; a dataset's
``name`` is its key under ``datasets``, the rest its section.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from genrobust.core import UserError

KEYS = ("over", "dataset", "arm")
_BRACES = re.compile(r"(\{[^{}]*\})")  # splits a text so that every second piece is one of these
_PLACEHOLDER = re.compile(r"\{([^\W\d]\w*(?:\.\w+)*)\}")
_NAME = re.compile(r"[^\W\d]\w*")


def expand(raw: Mapping[str, Any], where: str = "recipe") -> dict[str, Any]:
    """`raw`, a recipe as it was read, with its sweeps made into `arms` and `datasets`; without ``sweep``, a copy.

    Arms come after those listed, a sweep after the other, its last name changing fastest. A dataset that is made twice
    alike is made once. Raises UserError that names the sweep and the key: an unknown placeholder, a name that is never
    used, braces that are no placeholder, no values, two arms of one name, two different datasets of one name.
    """
    rest = {key: value for key, value in raw.items() if key != "sweep"}
    if raw.get("sweep") is None:
        return rest
    if not isinstance(raw["sweep"], list):
        raise UserError(f"{where}: sweep: a list of sweeps, each begun with '- over:' (got {raw['sweep']!r})")
    listed, datasets = rest.get("arms") or [], rest.get("datasets") or {}
    if not isinstance(listed, list) or not isinstance(datasets, dict):
        return rest  # whose validation says what is wrong with them
    made = _Made(listed, datasets)
    for i, sweep in enumerate(raw["sweep"]):
        try:
            _expand_one(sweep, made)
        except _Refused as error:
            place = ".".join(["sweep", str(i), *error.path])
            raise UserError(f"{where}: {place}: {error.why}") from None
    return {**rest, "arms": made.arms, **({"datasets": made.datasets} if made.datasets else {})}


class _Refused(Exception):
    """What is wrong at `path`, the keys below a sweep that lead there."""

    def __init__(self, why: str, *path: str) -> None:
        super().__init__(why)
        self.why, self.path = why, path


class _Made:
    """The arms and datasets so far: those that the recipe lists, then those of its sweeps."""

    def __init__(self, arms: Sequence[Any], datasets: Mapping[str, Any]) -> None:
        self.arms, self.datasets = list(arms), dict(datasets)
        self._names = {arm["name"] for arm in arms if isinstance(arm, dict) and isinstance(arm.get("name"), str)}

    def add_arm(self, arm: dict[str, Any]) -> None:
        if arm["name"] in self._names:
            raise _Refused(f"a second arm {arm['name']!r}: let its name hold what tells the two apart", "name")
        self._names.add(arm["name"])
        self.arms.append(arm)

    def add_dataset(self, dataset: dict[str, Any]) -> None:
        name = dataset.pop("name")
        if self.datasets.setdefault(name, dataset) != dataset:
            raise _Refused(f"a second, different dataset {name!r}: let its name hold what tells the two apart", "name")


def _expand_one(sweep: Any, made: _Made) -> None:
    if not isinstance(sweep, dict):
        raise _Refused(f"a sweep is a mapping with the keys {', '.join(KEYS)} (got {sweep!r})")
    for key in sweep.keys() - set(KEYS):
        raise _Refused(f"unknown key; {_known(KEYS, str(key))}", str(key))
    over = _checked_over(sweep.get("over"))
    templates = [(path, kind, t) for kind in ("dataset", "arm") for path, t in _templates(sweep, kind)]
    used = {root for path, _, template in templates for root in _roots(template, path, over)}
    for name in over:
        if name not in used:
            raise _Refused(f"no arm or dataset uses it: write {{{name}}} where it belongs", "over", name)
    for cell in product(*over.values()):
        values = dict(zip(over, cell, strict=True))
        for path, kind, template in templates:
            filled = _filled(template, values, path) | {"name": _text(template["name"], values, (*path, "name"))}
            add = made.add_arm if kind == "arm" else made.add_dataset
            try:
                add(filled)
            except _Refused as error:
                raise _Refused(error.why, *path, *error.path) from None


def _checked_over(over: Any) -> dict[str, list[Any]]:
    if not isinstance(over, dict) or not over:
        raise _Refused("give one name or more, each with a list of values, such as {amount: [6, 11, 28]}", "over")
    for name, values in over.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _Refused(f"{name!r} is no name: letters, digits and _, no digit first", "over")
        if not isinstance(values, list) or not values:
            raise _Refused(f"give a list of one value or more (got {values!r})", "over", name)
    return over


def _templates(sweep: Mapping[str, Any], kind: str) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The templates of a sweep's arms or datasets, each with the keys that lead to it."""
    given = sweep.get(kind)
    if given is None and kind == "dataset":
        return
    listed = isinstance(given, list)
    templates = given if isinstance(given, list) else [given]
    if not templates:
        raise _Refused("an empty list: give a mapping, or a list of them", kind)
    for i, template in enumerate(templates):
        path = (kind, str(i)) if listed else (kind,)
        if not isinstance(template, dict):
            raise _Refused(f"give a mapping, or a list of them (got {template!r})", *path)
        if not isinstance(template.get("name"), str):
            raise _Refused("it needs a name: a text, in quotes where it begins with a brace", *path)
        yield path, template


def _roots(template: Any, path: tuple[str, ...], over: Mapping[str, Any]) -> Iterator[str]:
    """The names that the placeholders of `template` begin with; refuses unknown ones and stray braces."""
    if isinstance(template, dict) and list(template.values()) == [None] and not over.keys().isdisjoint(template):
        raise _Refused(f'YAML reads {{{next(iter(template))}}} as a mapping: put it in quotes, "{{...}}"', *path)
    if isinstance(template, dict | list):
        for key, value in template.items() if isinstance(template, dict) else enumerate(template):
            yield from _roots(value, (*path, str(key)), over)
    elif isinstance(template, str):
        for dotted in _placeholders(template, path):
            root = dotted.split(".")[0]
            if root not in over:
                raise _Refused(f"unknown placeholder {{{dotted}}}; {_known(over, root)}", *path)
            yield root


def _placeholders(text: str, path: tuple[str, ...]) -> Iterator[str]:
    """What stands in the placeholders of `text`. ``{}`` is none: it belongs to a prompt's template."""
    for i, piece in enumerate(_BRACES.split(text)):
        found = _PLACEHOLDER.fullmatch(piece)
        if found:
            yield found[1]
        elif piece != "{}" and (i % 2 or "{" in piece or "}" in piece):
            raise _Refused(f"{text!r} has braces that are no placeholder: write {{name}}, or {{}} alone", *path)


def _filled(template: Any, values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """`template` with the placeholders in its texts filled; its keys stay as they are."""
    if isinstance(template, dict):
        return {key: _filled(value, values, (*path, str(key))) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, values, (*path, str(i))) for i, value in enumerate(template)]
    if not isinstance(template, str):
        return template
    alone = _PLACEHOLDER.fullmatch(template)
    return _value(alone[1], values, path) if alone else _text(template, values, path)


def _text(template: str, values: Mapping[str, Any], path: tuple[str, ...]) -> str:
    def shown(found: re.Match[str]) -> str:
        value = _value(found[1], values, path)
        if isinstance(value, dict | list):
            raise _Refused(f"{found[0]} is {value!r}, which cannot stand in a text; {{name.key}} can", *path)
        return value if isinstance(value, str) else json.dumps(value, default=str)  # true and null, as YAML has them

    return _PLACEHOLDER.sub(shown, template)


def _value(dotted: str, values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    root, *keys = dotted.split(".")
    value, seen = values[root], root
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            known = f"; {_known(value, key)}" if isinstance(value, dict) else ""
            raise _Refused(f"{{{dotted}}}: {seen} is {value!r}, without a key {key}{known}", *path)
        value, seen = value[key], f"{seen}.{key}"
    return value


def _known(names: Iterable[str], wanted: str) -> str:
    known = list(map(str, names))
    near = difflib.get_close_matches(wanted, known, n=1)
    return f"did you mean {near[0]}? Known here: {', '.join(known)}" if near else f"known here: {', '.join(known)}"
