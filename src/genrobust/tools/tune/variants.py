"""The variants of a recipe's arms that tuning tries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from genrobust.core import REAL, digest
from genrobust.recipe import DATASET, TRAIN, WEIGHT, set_value, shown


@dataclass(frozen=True)
class Variant:
    """An arm of a recipe with changed keys: its raw arm, and the raw datasets that it needs beside the recipe's.

    `of` is the name of the recipe's arm, and `chosen` the changed keys with their values: none for that arm itself.
    """

    name: str
    of: str
    arm: dict[str, Any]
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)


def variants(raw: Mapping[str, Any], over: Mapping[str, list[Any]], generated: str) -> Iterator[Variant]:
    """Yield the arms of the recipe `raw`, and then their variants; `generated` names the generator's own dataset."""
    datasets = raw.get("datasets") or {}
    yield from (own := [Variant(arm["name"], arm["name"], arm) for arm in raw["arms"]])
    known = {_trained(variant) for variant in own}
    for variant in (variant for arm in raw["arms"] for variant in _changed(arm, datasets, over, generated)):
        if _trained(variant) not in known:  # two arms can have a variant in common
            known.add(_trained(variant))
            yield variant


def _trained(variant: Variant) -> str:
    """A hash of what a variant trains on, and how."""
    return digest([variant.arm["mixture"], variant.arm["train"]])


def _changed(
    arm: Mapping[str, Any], datasets: Mapping[str, Any], over: Mapping[str, list[Any]], generated: str
) -> Iterator[Variant]:
    """Yield the variants of `arm`: all combinations of the values of the keys that it can have."""
    sources = [part["source"] for part in arm["mixture"]]
    drawn = [source for source in sources if source == generated or source in datasets]
    usable = {TRAIN: True, DATASET: bool(drawn), WEIGHT: REAL in sources and len(sources) > 1}
    keys = [key for key in over if usable[key.partition(".")[0]]]
    for values in product(*([None, *over[key]] for key in keys)):
        chosen = {key: value for key, value in zip(keys, values, strict=True) if value is not None}
        if chosen:
            yield _variant(arm, chosen, datasets, drawn)


def _variant(arm: Mapping[str, Any], chosen: dict[str, Any], datasets: Mapping[str, Any], drawn: list[str]) -> Variant:
    name = ", ".join([arm["name"], *(_words(key, value) for key, value in chosen.items())])
    changed, added = {**deepcopy(dict(arm)), "name": name}, {}
    of_datasets = {key.partition(".")[2]: value for key, value in chosen.items() if key.startswith(f"{DATASET}.")}
    for part in changed["mixture"]:
        if of_datasets and part["source"] in drawn:
            dataset = deepcopy(datasets.get(part["source"], {}))
            for key, value in of_datasets.items():
                set_value(dataset, key, value, f"tune.over: {DATASET}.{key}")
            part["source"] = ", ".join([part["source"], *(_words(key, value) for key, value in of_datasets.items())])
            added[part["source"]] = dataset
        if WEIGHT in chosen:
            part["weight"] = 1.0 if part["source"] == REAL else chosen[WEIGHT]
    for key, value in chosen.items():
        if key.startswith(f"{TRAIN}."):
            set_value(changed, key, value, f"tune.over: {key}")
    return Variant(name, arm["name"], changed, added, chosen)


def _words(key: str, value: Any) -> str:
    return f"{key.rpartition('.')[2]} {shown(value).strip(chr(39))}"
