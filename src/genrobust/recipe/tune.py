"""What `genrobust tune` tries, and the variants of a recipe's arms that come of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Annotated, Any

from pydantic import Field, field_validator

from genrobust.core import REAL, digest
from genrobust.recipe.names import Name
from genrobust.recipe.numbers import Between
from genrobust.recipe.section import PlainValues, Section, shown

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
    datasets, seen = raw.get("datasets") or {}, set()
    for variant in _all_variants(raw["arms"], datasets, over, generated):
        same = digest([variant.arm["mixture"], variant.arm["train"]])
        if same not in seen:  # an arm may be what becomes of another one
            seen.add(same)
            yield variant


def _all_variants(
    arms: list[dict[str, Any]], datasets: Mapping[str, Any], over: Mapping[str, list[Any]], generated: str
) -> Iterator[Variant]:
    yield from (Variant(arm["name"], arm["name"], arm) for arm in arms)
    for arm in arms:
        sources = [part["source"] for part in arm["mixture"]]
        drawn = [source for source in sources if source == generated or source in datasets]
        mixed = REAL in sources and len(sources) > 1
        usable = {TRAIN: True, DATASET: bool(drawn), WEIGHT: mixed}
        keys = [key for key in over if usable[key.partition(".")[0]]]
        for values in product(*([None, *over[key]] for key in keys)):
            chosen = {key: value for key, value in zip(keys, values, strict=True) if value is not None}
            if chosen:
                yield _variant(arm, chosen, datasets, drawn)


def _variant(arm: Mapping[str, Any], chosen: dict[str, Any], datasets: Mapping[str, Any], drawn: list[str]) -> Variant:
    parts, train, added = [dict(part) for part in arm["mixture"]], dict(arm.get("train") or {}), {}
    of_datasets = {key.partition(".")[2]: value for key, value in chosen.items() if key.startswith(f"{DATASET}.")}
    if of_datasets:
        words = ", ".join(_words(key, value) for key, value in of_datasets.items())
        for part in (part for part in parts if part["source"] in drawn):
            changed = dict(datasets.get(part["source"], {}))
            for key, value in of_datasets.items():
                _set(changed, key, value)
            part["source"] = f"{part['source']}, {words}"
            added[part["source"]] = changed
    if WEIGHT in chosen:
        for part in parts:
            part["weight"] = 1.0 if part["source"] == REAL else chosen[WEIGHT]
    for key, value in chosen.items():
        if key.startswith(f"{TRAIN}."):
            _set(train, key.partition(".")[2], value)
    name = ", ".join([arm["name"], *(_words(key, value) for key, value in chosen.items())])
    return Variant(name, arm["name"], {**arm, "name": name, "mixture": parts, "train": train}, added, chosen)


def _words(key: str, value: Any) -> str:
    return f"{key.rpartition('.')[2]} {shown(value).strip(chr(39))}"


def _set(node: dict[str, Any], key: str, value: Any) -> None:
    """Set the dotted `key` in `node`, of which nothing that is shared changes."""
    first, _, rest = key.partition(".")
    if not rest:
        node[first] = value
        return
    node[first] = dict(node.get(first) or {})
    _set(node[first], rest, value)
