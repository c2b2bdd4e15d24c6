"""Replaces the precision `auto` of a recipe by the fastest precision of the hardware that runs it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
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
    replaced: Recipe = _replaced(_with_trainings(recipe), precision, KEYS)
    return replaced


def with_dtype(recipe: Recipe, dtype: str) -> Recipe:
    """Return `recipe` with `dtype` in place of every generator dtype `auto`, also in its datasets."""
    replaced: Recipe = _replaced(recipe, dtype, ("dtype",))
    return replaced


def resolved_here(config: Config, kind: str) -> Config:
    """Return the section `config` with its precision `auto` replaced by the fastest one on this machine's `kind`.

    `kind` is a type of device, such as "cuda".
    """
    if AUTO not in named_precisions(config).values():
        return config
    replaced: Config = _replaced(config, hardware(kind).best, KEYS)
    return replaced


def named_precisions(section: Section) -> dict[str, str]:
    """Return the precisions in `section`, or a recipe, by their dotted keys, including `auto`."""
    section = _with_trainings(section) if isinstance(section, Recipe) else section
    return dict(_walk(section, ""))


def _with_trainings(recipe: Recipe) -> Recipe:
    """Return `recipe` with the sections about training that a dataset needs and it leaves out."""
    datasets, changed = recipe.datasets.values(), dict[str, Section]()
    if recipe.finetune is None and any(dataset.finetuned for dataset in datasets):
        changed["finetune"] = FinetuneConfig()
    if recipe.class_model is None and any(dataset.from_scratch for dataset in datasets):
        changed["class_model"] = ClassModelConfig()
    return recipe.model_copy(update=changed)


def _items(value: Any) -> list[tuple[Any, Any]]:
    """The keys and values of a section, a mapping or a tuple; nothing of anything else."""
    if isinstance(value, tuple):
        return list(enumerate(value))
    return list(dict(value).items()) if isinstance(value, Section | Mapping) else []


def _walk(value: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for key, child in _items(value):
        if key in KEYS:
            yield f"{prefix}{key}", child
        yield from _walk(child, f"{prefix}{key}.")


def _replaced(value: Any, precision: str, keys: Collection[str]) -> Any:
    """Return `value`, such as a section, with `precision` in place of each `auto` under one of `keys` in it."""
    changed = {
        key: precision if key in keys and child == AUTO else _replaced(child, precision, keys)
        for key, child in _items(value)
    }
    if isinstance(value, tuple):
        return tuple(changed.values())
    if isinstance(value, Section):
        return value.model_copy(update={key: new for key, new in changed.items() if new != getattr(value, key)})
    return changed if isinstance(value, Mapping) else value
