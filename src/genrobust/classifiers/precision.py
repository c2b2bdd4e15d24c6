"""Replaces the precision `auto` of a recipe by the fastest precision of the hardware that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from genrobust.core import FLOAT32, PREFERRED, Hardware, hardware, some_of
from genrobust.recipe import ClassModelConfig, FinetuneConfig, Recipe, Section

AUTO = "auto"
KEYS = ("precision", "dtype")  # of a section: one of them

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
    if all(precision == FLOAT32 for precision in precisions.values()):
        return recipe
    machine = get_hardware()
    for slow in [precision for precision in PREFERRED if precision not in machine.fast and machine.kind != "mps"]:
        if keys := [key for key, value in precisions.items() if value == slow]:
            say(f"{some_of(keys, 3)}: {slow} is slow on this machine ({machine.why}): use auto or {machine.best}")
    if AUTO not in precisions.values():
        return recipe
    say(f"precision: {machine.best} ({machine.why})")
    return with_precision(recipe, machine.best)


def with_precision(recipe: Recipe, precision: str) -> Recipe:
    """Return `recipe` with `precision` in place of every `auto`, in the sections that its datasets need, too."""
    changed: dict[str, Any] = {key: _settled(config, precision) for key, config in _trained(recipe).items()}
    changed["arms"] = tuple(
        arm.model_copy(update={"train": _settled_values(arm.train, precision)}) for arm in recipe.arms
    )
    changed["datasets"] = {
        name: dataset.model_copy(update={"class_model": _settled_values(dataset.class_model, precision)})
        for name, dataset in recipe.datasets.items()
    }
    return with_dtype(recipe.model_copy(update=changed), precision)


def with_dtype(recipe: Recipe, dtype: str) -> Recipe:
    """Return `recipe` with `dtype` in place of every generator dtype `auto`, also in its datasets."""
    datasets = {
        name: dataset.model_copy(update={"generator": _settled_values(dataset.generator, dtype)})
        for name, dataset in recipe.datasets.items()
    }
    generator = None if recipe.generator is None else _settled(recipe.generator, dtype)
    return recipe.model_copy(update={"generator": generator, "datasets": datasets})


def resolved_here(config: Config, kind: str) -> Config:
    """Return the section `config` with its precision `auto` replaced by the fastest one on this machine's `kind`.

    `kind` is a type of device, such as "cuda".
    """
    return _settled(config, hardware(kind).best) if AUTO in _precisions(config.__dict__).values() else config


def named_precisions(recipe: Recipe) -> dict[str, str]:
    """Return the precisions in `recipe` by their keys, including `auto`."""
    sections: dict[str, Mapping[str, Any]] = {} if recipe.generator is None else {"generator": vars(recipe.generator)}
    for name, dataset in recipe.datasets.items():
        sections |= {
            f"datasets.{name}.generator": dataset.generator,
            f"datasets.{name}.class_model": dataset.class_model,
        }
    sections |= {name: vars(config) for name, config in _trained(recipe).items()}
    sections |= {f"arms.{index}.train": arm.train for index, arm in enumerate(recipe.arms)}
    return {f"{name}.{key}": value for name, values in sections.items() for key, value in _precisions(values).items()}


def _trained(recipe: Recipe) -> dict[str, Section]:
    """The sections about training that the recipe has or a dataset needs, by their keys."""
    sections: dict[str, Section] = {"train": recipe.train}
    if recipe.finetune is not None or any(dataset.finetuned for dataset in recipe.datasets.values()):
        sections["finetune"] = recipe.finetune or FinetuneConfig()
    if recipe.class_model is not None or any(dataset.from_scratch for dataset in recipe.datasets.values()):
        sections["class_model"] = recipe.class_model or ClassModelConfig()
    return sections


def _precisions(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: values[key] for key in KEYS if key in values}


def _settled(config: Config, precision: str) -> Config:
    return config.model_copy(update=_settled_values(_precisions(vars(config)), precision))


def _settled_values(values: Mapping[str, Any], precision: str) -> dict[str, Any]:
    return {key: precision if key in KEYS and value == AUTO else value for key, value in values.items()}
