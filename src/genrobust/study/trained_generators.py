"""The generators that a study trains on its real images, each in a folder named after what it depends on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.core import StudyData, UserError, device_kind, digest
from genrobust.recipe import ClassModelConfig, FinetuneConfig, GeneratorConfig, LoraConfig, Recipe

if TYPE_CHECKING:
    from genrobust.generate import ClassModel, Finetune

TrainingConfig = FinetuneConfig | ClassModelConfig
FOLDERS = {FinetuneConfig: "finetuned", ClassModelConfig: "class-models"}


def generator_training(recipe: Recipe, from_scratch: bool) -> TrainingConfig:
    """Return the section that says how: `class_model` for a generator from scratch, else `finetune`."""
    return recipe.class_model or ClassModelConfig() if from_scratch else recipe.finetune or FinetuneConfig()


def trained_folder(recipe: Recipe, data: StudyData, out: Path, config: TrainingConfig) -> Path:
    """Return the folder below `out` of the generator that `config` trains. Raises UserError for a wrong recipe."""
    from genrobust.generate import training_inputs

    inputs = training_inputs(_objective(recipe, data, config), device_kind(recipe.device), recipe.threads)
    return out / FOLDERS[type(config)] / digest(inputs)


def train_in_folder(
    recipe: Recipe, data: StudyData, out: Path, config: TrainingConfig, log: Callable[[str], None] = lambda _: None
) -> Path:
    """Train the generator that `config` describes below `out`, unless it is completed, and return its folder.

    `log` gets a line when a training starts. Raises UserError where the recipe has no generator, and as
    `generate.train_generator` does.
    """
    from genrobust.generate import is_trained, train_generator

    objective, folder = _objective(recipe, data, config), trained_folder(recipe, data, out, config)
    if not is_trained(folder, config):
        images, classes = f"{len(data.train):,} images", len(data.labels)
        log(f"training the {config.noun} on {images} of {classes} classes, {config.steps} steps, into {folder}")
    return train_generator(objective, folder, recipe.device, recipe.threads)


def finetuned(recipe: Recipe, data: StudyData, out: Path, log: Callable[[str], None] = lambda _: None) -> Path:
    """Return the folder of the recipe's fine-tuned generator below `out`, trained now if needed.

    A recipe without the section `finetune` gets that section's defaults. Raises as `train_in_folder` does.
    """
    return train_in_folder(recipe, data, out, generator_training(recipe, from_scratch=False), log)


def with_trained(generator: GeneratorConfig, config: TrainingConfig, folder: Path) -> GeneratorConfig:
    """Return `generator` with the weights that `config` trained in `folder`, or with the LoRA there."""
    if isinstance(config, FinetuneConfig) and config.method == "lora":
        return generator.model_copy(update={"lora": LoraConfig(model=str(folder))})
    own = {"model": str(folder), "alternatives": (), "revision": None, "variant": None}
    return generator.model_copy(update=own)


def _objective(recipe: Recipe, data: StudyData, config: TrainingConfig) -> Finetune | ClassModel:
    from genrobust.generate import ClassModel, Finetune

    base = recipe.generator
    if base is None:
        raise UserError(f"{recipe.name} has no generator to train the {config.noun} from: name one as generator.model")
    if isinstance(config, ClassModelConfig):
        return ClassModel(base, config, data.train, data.labels, recipe.data_seed)
    return Finetune(base, config, data.train, data.labels, recipe.data_seed, recipe.generate.prompts)
