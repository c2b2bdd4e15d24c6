"""A recipe's generator, fine-tuned on the recipe's real training images, in a folder named after what it depends on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from genrobust.classifiers import resolved_here
from genrobust.core import ImageSet, LabelSpace, StudyData, UserError, device_kind, digest
from genrobust.recipe import FinetuneConfig, GeneratorConfig, LoraConfig, PromptConfig, Recipe


def finetuned_folder(recipe: Recipe, data: StudyData, out: Path) -> Path:
    """Where the fine-tuned generator lies, or will lie, below `out`. Raises as `finetuned` does for a wrong recipe."""
    from genrobust.generate import finetune_job

    device = device_kind(recipe.device)
    return out / "finetuned" / digest(finetune_job(*_what(recipe, data), device, recipe.threads))


def is_finetuned(folder: Path) -> bool:
    """Whether the fine-tune in `folder` is finished."""
    from genrobust.generate import is_trained

    return is_trained(folder, FinetuneConfig)


def finetuned(recipe: Recipe, data: StudyData, out: Path, say: Callable[[str], None] = lambda line: None) -> Path:
    """The folder of the fine-tuned generator below `out`, made now where it is not there or not finished.

    A recipe without the section finetune is taken with that section's defaults. `say` is told, in a line, what begins.
    Raises UserError where the recipe has no generator, and as `generate.finetune.finetune` does.
    """
    from genrobust.generate import finetune

    what, folder = _what(recipe, data), finetuned_folder(recipe, data, out)
    if not is_finetuned(folder):
        base, images, _, config, _ = what
        say(f"fine-tuning {base.model} on {len(images):,} images, {config.steps} steps, into {folder}")
    return finetune(*what, folder, recipe.device, recipe.threads)


def with_finetuned(generator: GeneratorConfig, config: FinetuneConfig, folder: Path) -> GeneratorConfig:
    """`generator` with its weights replaced by those of the fine-tune in `folder`, or with the LoRA that lies there."""
    if config.method == "lora":
        return generator.model_copy(update={"lora": LoraConfig(model=str(folder))})
    own = {"model": str(folder), "alternatives": (), "revision": None, "variant": None}
    return generator.model_copy(update=own)


def _what(
    recipe: Recipe, data: StudyData
) -> tuple[GeneratorConfig, ImageSet, Callable[[int, str], tuple[str, ...]], FinetuneConfig, int]:
    """What a fine-tune depends on beside the machine, in the order in which `generate.finetune` takes it."""
    if recipe.generator is None:
        raise UserError(f"{recipe.name} has no generator to fine-tune: name one under generator.model")
    captions = captions_of(recipe.generate.prompts, data.labels)
    config = resolved_here(recipe.finetune or FinetuneConfig(), device_kind(recipe.device))
    return recipe.generator, data.train, captions, config, recipe.data_seed


def captions_of(prompts: PromptConfig, labels: LabelSpace) -> Callable[[int, str], tuple[str, ...]]:
    """What may be said of an image, by its label and style: the prompts that its class is generated from.

    Of prompts that name styles, those of the image's own style; where none does, those that name no style, and else
    the class's name alone.
    """
    from genrobust.generate import read_listed, templates_of

    listed = read_listed(prompts.file, labels) if prompts.file is not None else [templates_of(prompts)] * len(labels)

    def captions(label: int, style: str) -> tuple[str, ...]:
        name = labels.classes[label].prompt
        chosen = [t for t in listed[label] if t.style == style] or [t for t in listed[label] if not t.style]
        return tuple(template.fill(name) for template in chosen) or (f"a {name}",)

    return captions
