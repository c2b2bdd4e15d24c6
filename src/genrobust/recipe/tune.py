"""What `genrobust tune` tries, and the variants of a recipe's arms that come of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import product
from typing import Annotated, Any

from pydantic import Field, field_validator

from genrobust.core import REAL, digest
from genrobust.recipe.names import Name
from genrobust.recipe.numbers import Between
from genrobust.recipe.section import PlainValues, Section, set_value, shown

WEIGHT, TRAIN, DATASET = "weight", "train", "dataset"  # what a key of `over` begins with
POLICIES = ("autoaugment", "randaugment", "augmix", "drawing-styles", "photograph-styles")


class TuneConfig(Section):
    """What `genrobust tune` tries: every arm of the recipe, as it is and with all combinations of the values in `over`.

    `choose_by` names the shifted test sets that choose. The recipe that tuning writes is not tested on them. Without
    it, the data's own shifted validation set chooses, such as `wild-val` or `shifted-val`.

    A key of `over` is `train.KEY` for the training of an arm, `weight` for the share of its images that are not real,
    relative to the real ones, or `dataset.KEY` for its generated images: `dataset.generator.guidance_scale`,
    `dataset.generate.per_class` or `dataset.filter`. Arms that have no such images are not varied by it. The last
    rounds compare the best `finalists` with the recipe's own arm over `seeds` trainings of each.
    """

    choose_by: tuple[Name, ...] = ()
    over: PlainValues = Field(default_factory=lambda: {"train.augmentation": list(POLICIES)})
    finalists: Annotated[int, Between(1, 20, "the last round trains each several times")] = 2
    seeds: Annotated[int, Between(2, 20, "one training says nothing about how much trainings vary")] = 3

    @field_validator("over")
    @classmethod
    def _check_over(cls, over: dict[str, Any]) -> dict[str, Any]:
        for key, values in over.items():
            begin, _, rest = key.partition(".")
            if not (key == WEIGHT or (begin in (TRAIN, DATASET) and rest)):
                raise ValueError(f"{shown(key)} is no key of an arm: write {TRAIN}.KEY, {DATASET}.KEY or {WEIGHT}")
            if not isinstance(values, list) or not values:
                raise ValueError(f"{key}: give a list of one value or more (got {shown(values)})")
        return over


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
