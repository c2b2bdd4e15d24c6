"""Replace the precision `auto` of a recipe by the fastest precision of the hardware that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from genrobust.core import FLOAT32, PREFERRED, Hardware, hardware, some_of
from genrobust.recipe import ArmConfig, ClassModelConfig, FinetuneConfig, Recipe, Section

AUTO = "auto"
KEYS = ("precision", "dtype")  # of a section: one of them
Key = tuple[Any, ...]  # of a value in a recipe: the names that lead to it

Config = TypeVar("Config", bound=Section)


def choose_precisions(
    recipe: Recipe, get_hardware: Callable[[], Hardware], say: Callable[[str], None] = lambda line: None
) -> Recipe:
    """Return `recipe` with every precision `auto` replaced.

    `get_hardware` is called only if the recipe has another precision than float32. `say` gets a line that explains the
    choice for `auto`, and a line for each precision that is slow on the hardware.
    """
    precisions = named_precisions(recipe)
    if all(precision == FLOAT32 for precision in precisions.values()):
        return recipe
    machine = get_hardware()
    for precision in PREFERRED:
        if precision in machine.fast or machine.kind == "mps":
            continue
        keys = [key for key, value in precisions.items() if value == precision]
        if keys:
            say(f"{some_of(keys, 3)}: {precision} is slow on this machine ({machine.why}): use auto or {machine.best}")
    if AUTO not in precisions.values():
        return recipe
    say(f"precision: {machine.best} ({machine.why})")
    return with_precision(recipe, machine.best)


def with_precision(recipe: Recipe, precision: str) -> Recipe:
    """Return `recipe` with `precision` instead of every `auto`, also in sections that only its datasets need."""
    replaced: Recipe = _mapped(_with_trainings(recipe), lambda key, value: precision if value == AUTO else value)
    return replaced


def resolved_here(config: Config, kind: str) -> Config:
    """Return the section `config` with its precision `auto` replaced by the fastest one on this machine's `kind`.

    `kind` is a type of device, such as "cuda".
    """
    if AUTO not in named_precisions(config).values():
        return config
    best = hardware(kind).best
    replaced: Config = _mapped(config, lambda key, value: best if value == AUTO else value)
    return replaced


def named_precisions(section: Section) -> dict[str, str]:
    """Return the precisions in `section`, or a recipe, by their dotted keys, including `auto`."""
    precisions: dict[str, str] = {}

    def collect(key: Key, value: str) -> str:
        precisions[".".join(map(str, key))] = value
        return value

    _mapped(_with_trainings(section) if isinstance(section, Recipe) else section, collect)
    return precisions


def _with_trainings(recipe: Recipe) -> Recipe:
    """Return `recipe` with the sections about training that a dataset needs and the recipe leaves out.

    If the method of the section `train` has no precision, arms name their own.
    """
    datasets = recipe.datasets.values()
    updates: dict[str, Any] = {}
    if "precision" in recipe.train.without:
        updates["arms"] = tuple(_with_own_precision(recipe, arm) for arm in recipe.arms)
    if recipe.finetune is None and any(dataset.finetuned for dataset in datasets):
        updates["finetune"] = FinetuneConfig()
    if recipe.class_model is None and any(dataset.from_scratch for dataset in datasets):
        updates["class_model"] = ClassModelConfig()
    return recipe.model_copy(update=updates)


def _with_own_precision(recipe: Recipe, arm: ArmConfig) -> ArmConfig:
    train = recipe.train_of(arm)
    if "precision" in train.without:
        return arm
    return arm.model_copy(update={"train": {**arm.train, "precision": train.precision}})


def _mapped(value: Any, change: Callable[[Key, str], str], key: Key = ()) -> Any:
    """Return `value`, such as a section, with ``change(key, precision)`` instead of each precision in it."""
    if isinstance(value, tuple):
        return tuple(_mapped(child, change, (*key, number)) for number, child in enumerate(value))
    if isinstance(value, Section | Mapping):
        changed = {name: _mapped(child, change, (*key, name)) for name, child in dict(value).items()}
        if isinstance(value, Mapping):
            return changed
        return value.model_copy(update={name: new for name, new in changed.items() if new != getattr(value, name)})
    return change(key, value) if key and key[-1] in KEYS else value
