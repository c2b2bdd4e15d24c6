"""Replaces the precision `auto` of a recipe by the fastest precision of the hardware that runs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from typing import Any, TypeVar

from genrobust.core import FLOAT32, PREFERRED, Hardware, UserError, hardware, remembered, some_of
from genrobust.recipe import (
    ClassModelConfig,
    FinetuneConfig,
    GeneratorConfig,
    GeneratorTraining,
    Recipe,
    Section,
    TrainConfig,
)

AUTO = "auto"

Config = TypeVar("Config", bound=Section)


def choose_precisions(
    recipe: Recipe, get_hardware: Callable[[], Hardware], say: Callable[[str], None] = lambda line: None
) -> Recipe:
    """Return `recipe` with every precision `auto` replaced.

    Args:
        get_hardware: Returns the hardware. Called only if the recipe has another precision than float32.
        say: Called with a line that explains the choice for `auto`, and a line for each precision that is slow on the
            hardware.
    """
    precisions = named_precisions(recipe)
    if all(p == FLOAT32 for p in precisions.values()):
        return recipe
    machine = get_hardware()
    for line in slow_choices(precisions, machine):
        say(line)
    if AUTO not in precisions.values():
        return recipe
    resolved_recipe = with_precision(recipe, machine)
    networks = _float32_networks(recipe, resolved_recipe, machine)
    exception = (
        f"; float32 for {', '.join(networks)}: depthwise convolutions are slow in it on a CPU" if networks else ""
    )
    say(f"precision: {machine.best} ({machine.why}{exception})")
    return resolved_recipe


def with_precision(recipe: Recipe, machine: Hardware) -> Recipe:
    """Return `recipe` with every precision `auto` replaced by the fastest one on `machine`; others stay.

    An arm whose network needs another precision than the `train` section gets a `precision` of its own. The sections
    finetune and class_model are added if a dataset needs them. A recipe without `auto` is returned unchanged.
    """
    train, arms = resolved(recipe.train, machine), []
    for arm in recipe.arms:
        precision = resolved(recipe.train_of(arm), machine).precision
        same = arm.train.get("precision", train.precision) == precision
        arms.append(arm if same else arm.model_copy(update={"train": {**arm.train, "precision": precision}}))
    changed: dict[str, Any] = {"train": train, "arms": tuple(arms)}
    changed |= {section: resolved(config, machine) for section, config in _generator_trainings(recipe).items()}
    changed = {key: value for key, value in changed.items() if value != getattr(recipe, key)}
    return with_dtype(recipe.model_copy(update=changed) if changed else recipe, machine.best)


def with_dtype(recipe: Recipe, dtype: str) -> Recipe:
    """Return `recipe` with `dtype` in place of every generator dtype `auto`, also in its datasets."""
    changed: dict[str, Any] = {}
    if recipe.generator is not None and getattr(recipe.generator, "dtype", None) == AUTO:
        changed["generator"] = recipe.generator.model_copy(update={"dtype": dtype})
    for name, dataset in recipe.datasets.items():
        if dataset.generator.get("dtype") == AUTO:
            updated = dataset.model_copy(update={"generator": {**dataset.generator, "dtype": dtype}})
            changed["datasets"] = {**changed.get("datasets", recipe.datasets), name: updated}  # in their order
    return recipe.model_copy(update=changed) if changed else recipe


def resolved(config: Config, machine: Hardware) -> Config:
    """Return the section `config` with its precision `auto` replaced by the fastest one on `machine`."""
    key = _precision_key(config)
    if getattr(config, key, None) != AUTO:
        return config
    # `is_depthwise` is called last: it makes the network, for which torch and timm are imported.
    needs_float32 = (
        isinstance(config, TrainConfig) and machine.kind == "cpu" and machine.best != FLOAT32 and is_depthwise(config)
    )
    return config.model_copy(update={key: FLOAT32 if needs_float32 else machine.best})


def resolved_here(config: Config, kind: str) -> Config:
    """Return the section `config` with its precision `auto` replaced by the fastest one on this machine's `kind`.

    `kind` is a type of device, such as "cuda".
    """
    return resolved(config, hardware(kind)) if getattr(config, _precision_key(config), None) == AUTO else config


def is_depthwise(train: TrainConfig) -> bool:
    """Return whether the network of `train` has depthwise convolutions; False if the network cannot be made.

    The error of a network that cannot be made is raised when it trains.
    """
    return _is_depthwise(train.architecture, json.dumps(train.model_kwargs, sort_keys=True), train.image_size)


@cache
def _is_depthwise(architecture: str, model_kwargs: str, image_size: int) -> bool:
    name = f"{architecture} {model_kwargs}, {image_size} px, timm {metadata.version('timm')}, on a CPU"

    def fast_precision() -> str:
        import torch
        from torch import nn

        from genrobust.classifiers import create_classifier

        with torch.device("meta"):  # shapes alone: no memory, no time
            network = create_classifier(architecture, 2, image_size, json.loads(model_kwargs))
        depthwise = any(
            isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.groups == module.in_channels > 1
            for module in network.modules()
        )
        return FLOAT32 if depthwise else "bfloat16"

    try:
        return remembered(name, fast_precision) == FLOAT32  # on disk: torch and timm take seconds
    except UserError:
        return False


def _precision_key(config: Section) -> str:
    """Return the key of the precision of a section."""
    return "dtype" if isinstance(config, GeneratorConfig) else "precision"


def named_precisions(recipe: Recipe) -> dict[str, str]:
    """Return the precisions in `recipe` by their keys, including `auto`."""
    dtype = getattr(recipe.generator, "dtype", None)
    precisions = {} if dtype is None else {"generator.dtype": str(dtype)}
    for name, dataset in recipe.datasets.items():
        if "dtype" in dataset.generator:
            precisions[f"datasets.{name}.generator.dtype"] = dataset.generator["dtype"]
    precisions |= {f"{section}.precision": config.precision for section, config in _generator_trainings(recipe).items()}
    precisions["train.precision"] = recipe.train.precision
    for index, arm in enumerate(recipe.arms):
        if "precision" in arm.train:
            precisions[f"arms.{index}.train.precision"] = arm.train["precision"]
    return precisions


def slow_choices(precisions: Mapping[str, str], machine: Hardware) -> list[str]:
    """Return a line for each precision that is slow on `machine`: its keys, the reason and the remedy.

    `precisions` are those of `named_precisions`.
    """
    costs = {
        ("cpu", "bfloat16"): f"{machine.why}, without which it is 50 to 70 times slower than float32",
        ("cpu", "float16"): "most CPUs are 4 to 15 times slower in it than in float32",
        ("cuda", "bfloat16"): f"{machine.why}: it is emulated, and slower than float32",
    }
    lines = []
    for precision in PREFERRED:
        keys = [key for key, value in precisions.items() if value == precision]
        cost = costs.get((machine.kind, precision))
        if keys and cost and precision not in machine.fast:
            lines.append(f"{some_of(keys, 3)}: {precision}: {cost}; use auto or {machine.best}")
    return lines


def _generator_trainings(recipe: Recipe) -> dict[str, GeneratorTraining]:
    """Return the sections finetune and class_model that the recipe has or a dataset needs, by their keys."""
    datasets = recipe.datasets.values()
    sections: dict[str, GeneratorTraining] = {}
    if recipe.finetune is not None or any(dataset.finetuned for dataset in datasets):
        sections["finetune"] = recipe.finetune or FinetuneConfig()
    if recipe.class_model is not None or any(dataset.from_scratch for dataset in datasets):
        sections["class_model"] = recipe.class_model or ClassModelConfig()
    return sections


def _float32_networks(recipe: Recipe, resolved_recipe: Recipe, machine: Hardware) -> list[str]:
    """Return the architectures for which `auto` became float32 although another precision is the fastest."""
    if machine.best == FLOAT32:
        return []
    arms = zip(map(recipe.train_of, recipe.arms), map(resolved_recipe.train_of, resolved_recipe.arms), strict=True)
    architectures = [
        after.architecture for before, after in arms if before.precision == AUTO and after.precision == FLOAT32
    ]
    return list(dict.fromkeys(architectures))
