"""A class-conditional generator trained from scratch on a recipe's real images, in a folder named after its job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from genrobust.classifiers import resolved_here
from genrobust.core import ImageSet, LabelSpace, StudyData, UserError, device_kind, digest
from genrobust.recipe import ClassModelConfig, GeneratorConfig, Recipe


def class_model_folder(recipe: Recipe, data: StudyData, out: Path) -> Path:
    """Where the class model lies, or will lie, below `out`. Raises as `class_model` does for a wrong recipe."""
    from genrobust.generate import class_model_job

    device = device_kind(recipe.device)
    return out / "class-models" / digest(class_model_job(*_what(recipe, data), device, recipe.threads))


def class_model(recipe: Recipe, data: StudyData, out: Path, say: Callable[[str], None] = lambda line: None) -> Path:
    """The folder of the class model below `out`, trained now where it is not there or not finished.

    A recipe without the section class_model is taken with that section's defaults. `say` is told, in a line, what
    begins. Raises UserError where the recipe has no generator, and as `generate.class_model.train_class_model` does.
    """
    from genrobust.generate import is_trained, train_class_model

    what, folder = _what(recipe, data), class_model_folder(recipe, data, out)
    if not is_trained(folder, ClassModelConfig):
        _, images, labels, config, _ = what
        say(
            f"training a class model on {len(images):,} images of {len(labels)} classes, {config.steps} steps, {folder}"
        )
    return train_class_model(*what, folder, recipe.device, recipe.threads)


def _what(recipe: Recipe, data: StudyData) -> tuple[GeneratorConfig, ImageSet, LabelSpace, ClassModelConfig, int]:
    """What a class model depends on beside the machine, in the order in which `train_class_model` takes it."""
    if recipe.generator is None:
        raise UserError(f"{recipe.name} has no generator to take the autoencoder from: name one under generator.model")
    config = resolved_here(recipe.class_model or ClassModelConfig(), device_kind(recipe.device))
    return recipe.generator, data.train, data.labels, config, recipe.data_seed
