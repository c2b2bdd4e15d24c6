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
    """An arm of a recipe with changed keys: its raw arm, and the raw datasets that it needs beside the recipe's.

    `chosen` are the changed keys with their values: none for the recipe's arm itself.
    """

    name: str
    arm: dict[str, Any]
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)


def variants(
    raw: Mapping[str, Any],
    over: Mapping[str, list[Any]],
    generated: str,
    can_have: Callable[[str, str], bool],
) -> Iterator[Variant]:
    """Yield the arms of the recipe `raw`, and then their variants.

    `generated` names the generator's own dataset. `can_have` says of an arm and a key of `over` whether it may have it.
    """
    datasets, tried = raw.get("datasets") or {}, _named(over)
    yield from (Variant(arm["name"], arm) for arm in raw["arms"])
    for arm in raw["arms"]:
        own = {key: of for key, of in tried.items() if can_have(arm["name"], key)}
        yield from _changed(arm, datasets, own, generated)


def _named(over: Mapping[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """The values of each key by what variants are called that have them, such as "augmentation augmix"."""
    last, named = Counter(key.rpartition(".")[2] for key in over), dict[str, dict[str, Any]]()
    for key, values in over.items():
        word, texts = key.rpartition(".")[2], [shown(value).strip(chr(39)) for value in values]
        words = [
            f"{word if last[word] == 1 else key} {text}" + (f" ({number})" if texts.count(text) > 1 else "")
            for number, text in enumerate(texts, 1)  # long values begin alike
        ]
        named[key] = dict(zip(words, values, strict=True))
    return named


def _changed(
    arm: Mapping[str, Any], datasets: Mapping[str, Any], tried: Mapping[str, Mapping[str, Any]], generated: str
) -> Iterator[Variant]:
    """Yield the variants of `arm`: all combinations of the values of the keys that it can have."""
    sources = [part["source"] for part in arm["mixture"]]
    drawn = [source for source in sources if source == generated or source in datasets]
    usable = {TRAIN: True, DATASET: bool(drawn), WEIGHT: REAL in sources and len(sources) > 1}
    keys = [key for key in tried if usable[key.partition(".")[0]]]
    for words in product(*(["", *tried[key]] for key in keys)):
        if named := {key: (word, tried[key][word]) for key, word in zip(keys, words, strict=True) if word}:
            yield _variant(arm, named, datasets, drawn)


def _variant(
    arm: Mapping[str, Any], named: Mapping[str, tuple[str, Any]], datasets: Mapping[str, Any], drawn: list[str]
) -> Variant:
    """The variant of `arm` with the values `named`, each beside what it is called."""
    name = ", ".join([arm["name"], *(word for word, _ in named.values())])
    chosen = {key: value for key, (_, value) in named.items()}
    changed, added = {**deepcopy(dict(arm)), "name": name}, {}
    of_datasets = {key.partition(".")[2]: value for key, value in chosen.items() if key.startswith(f"{DATASET}.")}
    of_words = [word for key, (word, _) in named.items() if key.startswith(f"{DATASET}.")]
    for part in changed["mixture"]:
        if of_datasets and part["source"] in drawn:
            dataset = deepcopy(datasets.get(part["source"], {}))
            for key, value in of_datasets.items():
                set_value(dataset, key, value, f"tune.over: {DATASET}.{key}")
            part["source"] = ", ".join([part["source"], *of_words])
            added[part["source"]] = dataset
        if WEIGHT in chosen:
            part["weight"] = 1.0 if part["source"] == REAL else chosen[WEIGHT]
    for key, value in chosen.items():
        if key.startswith(f"{TRAIN}."):
            set_value(changed, key, value, f"tune.over: {key}")
    return Variant(name, changed, added, chosen)
