"""The variants of a recipe's arms that tuning tries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from genrobust.core import REAL
from genrobust.recipe import DATASET, TRAIN, WEIGHT, set_value, shown


@dataclass(frozen=True)
class Variant:
    """An arm of a recipe with changed keys, as raw values.

    Attributes:
        datasets: Raw datasets that it needs in addition to the recipe's.
        chosen: The changed keys with their values. Empty for an arm of the recipe itself.
    """

    name: str
    arm: dict[str, Any]
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)


def variants(
    raw: Mapping[str, Any], over: Mapping[str, list[Any]], generated: str, can_have: Callable[[str, str], bool]
) -> Iterator[Variant]:
    """Yield the arms of the recipe `raw`, and then their variants.

    Args:
        generated: The name of the generator's own dataset.
        can_have: Returns whether an arm may have a key of `over`.
    """
    datasets = raw.get("datasets") or {}
    values = _named(over)
    for arm in raw["arms"]:
        yield Variant(arm["name"], arm)
    for arm in raw["arms"]:
        sources = [part["source"] for part in arm["mixture"]]
        drawn = [source for source in sources if source == generated or source in datasets]
        usable = {TRAIN: True, DATASET: bool(drawn), WEIGHT: REAL in sources and len(sources) > 1}
        keys = [key for key in values if usable[key.partition(".")[0]] and can_have(arm["name"], key)]
        # "" leaves a key unchanged.
        for words in product(*(["", *values[key]] for key in keys)):
            named = {key: word for key, word in zip(keys, words, strict=True) if word}
            if named:
                chosen = {key: values[key][word] for key, word in named.items()}
                yield _variant(arm, named, chosen, {source: datasets.get(source, {}) for source in drawn})


def _named(over: Mapping[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """Return the values of each key by their names in variants, such as "augmentation augmix"."""
    uses = Counter(key.rpartition(".")[2] for key in over)
    named: dict[str, dict[str, Any]] = {}
    for key, values in over.items():
        word = key.rpartition(".")[2]
        prefix = word if uses[word] == 1 else key
        texts = [shown(value).strip("'") for value in values]
        named[key] = {}
        for number, (text, value) in enumerate(zip(texts, values, strict=True), 1):
            # Long values may begin alike.
            suffix = f" ({number})" if texts.count(text) > 1 else ""
            named[key][f"{prefix} {text}{suffix}"] = value
    return named


def _variant(
    arm: Mapping[str, Any], named: Mapping[str, str], chosen: dict[str, Any], datasets: Mapping[str, Any]
) -> Variant:
    """Return the variant of `arm` with the values `chosen`, which are called `named`.

    Args:
        datasets: The generated datasets of the arm.
    """
    changed = {**deepcopy(dict(arm)), "name": ", ".join([arm["name"], *named.values()])}
    added: dict[str, dict[str, Any]] = {}
    of_datasets = [key for key in chosen if key.startswith(f"{DATASET}.")]
    for part in changed["mixture"]:
        if of_datasets and part["source"] in datasets:
            dataset = deepcopy(datasets[part["source"]])
            for key in of_datasets:
                set_value(dataset, key.partition(".")[2], chosen[key], f"tune.over: {key}")
            part["source"] = ", ".join([part["source"], *(named[key] for key in of_datasets)])
            added[part["source"]] = dataset
        if WEIGHT in chosen:
            part["weight"] = 1.0 if part["source"] == REAL else chosen[WEIGHT]
    for key, value in chosen.items():
        if key.startswith(f"{TRAIN}."):
            set_value(changed, key, value, f"tune.over: {key}")
    return Variant(changed["name"], changed, added, chosen)
