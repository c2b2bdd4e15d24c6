"""Replaces `auto` among the precisions of a recipe by what is fast on the hardware that runs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from typing import Any, TypeVar

from genrobust.core import FLOAT32, PREFERRED, Hardware, UserError, hardware, remembered
from genrobust.recipe import (
    ClassModelConfig,
    DiffusionTraining,
    FinetuneConfig,
    GeneratorConfig,
    Recipe,
    Section,
    TrainConfig,
)

AUTO = "auto"
KEYS_SHOWN = 3

Config = TypeVar("Config", bound=Section)


def choose_precisions(
    recipe: Recipe, get_hardware: Callable[[], Hardware], say: Callable[[str], None] = lambda line: None
) -> Recipe:
    """Return `recipe` without any `auto` among its precisions.

    Args:
        get_hardware: Called where the recipe names more than float32.
        say: Called with a line on what `auto` stands for, and on each named precision that the hardware is slow in.
    """
    named = named_precisions(recipe)
    if all(p == FLOAT32 for p in named.values()):
        return recipe
    here = get_hardware()
    for line in slow_choices(named, here):
        say(line)
    if AUTO not in named.values():
        return recipe
    settled = with_precision(recipe, here)
    networks = _float32_networks(recipe, settled, here)
    beside = f"; float32 for {', '.join(networks)}: depthwise convolutions are slow in it on a CPU" if networks else ""
    say(f"precision: {here.best} ({here.why}{beside})")
    return settled


def with_precision(recipe: Recipe, here: Hardware) -> Recipe:
    """Return `recipe` with what `auto` stands for on the hardware `here`; what the recipe names stays.

    An arm whose network wants another precision than the recipe's `train` section gets its own. The sections finetune
    and class_model are filled in where a dataset needs them. A recipe without any `auto` is returned as it is.
    """
    changed: dict[str, Any] = {"train": resolved(recipe.train, here)}
    for section, config in _diffusion_trainings(recipe).items():
        changed[section] = resolved(config, here)
    train = changed["train"].precision
    arms = []
    for arm in recipe.arms:
        wanted = resolved(recipe.train_of(arm), here).precision
        own = arm.train if arm.train.get("precision", train) == wanted else {**arm.train, "precision": wanted}
        arms.append(arm if own is arm.train else arm.model_copy(update={"train": own}))
    changed["arms"] = tuple(arms)
    changed = {key: value for key, value in changed.items() if value != getattr(recipe, key)}
    return with_dtype(recipe.model_copy(update=changed) if changed else recipe, here.best)


def with_dtype(recipe: Recipe, dtype: str) -> Recipe:
    """Return `recipe` with `dtype` for every generator dtype that is `auto`, those of its datasets among them."""
    changed: dict[str, Any] = {}
    if recipe.generator is not None and getattr(recipe.generator, "dtype", None) == AUTO:
        changed["generator"] = recipe.generator.model_copy(update={"dtype": dtype})
    own = {name: of for name, of in recipe.datasets.items() if of.generator.get("dtype") == AUTO}
    if own:
        fixed = {n: of.model_copy(update={"generator": {**of.generator, "dtype": dtype}}) for n, of in own.items()}
        changed["datasets"] = {**recipe.datasets, **fixed}  # in their order
    return recipe.model_copy(update=changed) if changed else recipe


def resolved(config: Config, here: Hardware) -> Config:
    """Return a section with a precision, as `train` has, with what `auto` stands for on the hardware `here`."""
    key = _key(config)
    if getattr(config, key, None) != AUTO:
        return config
    # A CPU that is slow in all but float32 need not be asked for its network, which takes torch and timm.
    plain = isinstance(config, TrainConfig) and here.kind == "cpu" and here.best != FLOAT32 and is_depthwise(config)
    return config.model_copy(update={key: FLOAT32 if plain else here.best})


def resolved_here(config: Config, kind: str) -> Config:
    """Return a section with a precision, with what `auto` stands for on this machine's devices of `kind`."""
    return resolved(config, hardware(kind)) if getattr(config, _key(config), None) == AUTO else config


def is_depthwise(train: TrainConfig) -> bool:
    """Whether the network of `train` has depthwise convolutions. One that cannot be made has none, until it trains."""
    return _is_depthwise(train.architecture, json.dumps(train.model_kwargs, sort_keys=True), train.image_size)


@cache
def _is_depthwise(architecture: str, model_kwargs: str, image_size: int) -> bool:
    name = f"{architecture} {model_kwargs}, {image_size} px, timm {metadata.version('timm')}, on a CPU"

    def ask() -> str:
        import torch
        from torch import nn

        from genrobust.classifiers import create_classifier

        with torch.device("meta"):  # shapes alone: no memory, no time
            network = create_classifier(architecture, 2, image_size, json.loads(model_kwargs))
        depthwise = any(
            isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d) and m.groups == m.in_channels > 1
            for m in network.modules()
        )
        return FLOAT32 if depthwise else "bfloat16"

    try:
        return remembered(name, ask) == FLOAT32  # once a machine: torch and timm take seconds
    except UserError:
        return False


def _key(config: Section) -> str:
    return "dtype" if isinstance(config, GeneratorConfig) else "precision"


def named_precisions(recipe: Recipe) -> dict[str, str]:
    """Return the precisions that `recipe` names, `auto` among them, by their keys."""
    dtype = getattr(recipe.generator, "dtype", None)
    named = {} if dtype is None else {"generator.dtype": str(dtype)}
    for name, dataset in recipe.datasets.items():
        if "dtype" in dataset.generator:
            named[f"datasets.{name}.generator.dtype"] = dataset.generator["dtype"]
    named |= {f"{section}.precision": config.precision for section, config in _diffusion_trainings(recipe).items()}
    named["train.precision"] = recipe.train.precision
    for index, arm in enumerate(recipe.arms):
        if "precision" in arm.train:
            named[f"arms.{index}.train.precision"] = arm.train["precision"]
    return named


def slow_choices(named: Mapping[str, str], here: Hardware) -> list[str]:
    """Return a line for each precision of `named_precisions` that the hardware is slow in: where, why, what to do."""
    costs = {
        ("cpu", "bfloat16"): f"{here.why}, without which it is 50 to 70 times slower than float32",
        ("cpu", "float16"): "most CPUs are 4 to 15 times slower in it than in float32",
        ("cuda", "bfloat16"): f"{here.why}: it is emulated, and slower than float32",
    }
    lines = []
    for precision in PREFERRED:
        keys = [key for key, value in named.items() if value == precision]
        cost = costs.get((here.kind, precision))
        if keys and cost and precision not in here.fast:
            more = f" and {len(keys) - KEYS_SHOWN} more" if len(keys) > KEYS_SHOWN else ""
            lines.append(f"{', '.join(keys[:KEYS_SHOWN])}{more}: {precision}: {cost}; use auto or {here.best}")
    return lines


def _diffusion_trainings(recipe: Recipe) -> dict[str, DiffusionTraining]:
    """The sections finetune and class_model, by their keys, where a recipe has them or a dataset needs them."""
    datasets = recipe.datasets.values()
    found: dict[str, DiffusionTraining] = {}
    if recipe.finetune is not None or any(of.finetuned for of in datasets):
        found["finetune"] = recipe.finetune or FinetuneConfig()
    if recipe.class_model is not None or any(of.from_scratch for of in datasets):
        found["class_model"] = recipe.class_model or ClassModelConfig()
    return found


def _float32_networks(recipe: Recipe, settled: Recipe, here: Hardware) -> list[str]:
    """The architectures of arms whose `auto` became float32 where the hardware has better."""
    if here.best == FLOAT32:
        return []
    arms = zip(map(recipe.train_of, recipe.arms), map(settled.train_of, settled.arms), strict=True)
    found = [now.architecture for was, now in arms if was.precision == AUTO and now.precision == FLOAT32]
    return list(dict.fromkeys(found))
