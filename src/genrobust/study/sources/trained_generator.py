"""A generator that is trained before it draws: the base fine-tuned, or a class model trained from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.core import Artifact, ImageSet, JoinedImages, UserError, artifact_folder, digest
from genrobust.generate import DiffusersConfig, LoraConfig
from genrobust.recipe import ClassModelConfig, DatasetConfig, FinetuneConfig, GeneratorConfig
from genrobust.study.context import Context, Rebuilt

if TYPE_CHECKING:
    from genrobust.generate import ClassModel, Finetune


@dataclass(frozen=True)
class TrainedGenerator(Rebuilt):
    """A generator that a study trains on images as `config` says, from the generator `base`."""

    context: Context
    base: GeneratorConfig
    config: FinetuneConfig | ClassModelConfig

    @property
    def stage(self) -> str:
        """The name that its rates and its time are kept under."""
        return "finetune" if isinstance(self.config, FinetuneConfig) else self.config.noun

    @property
    def name(self) -> str:
        """The name that the user knows it by."""
        config = self.config
        if not isinstance(config, ClassModelConfig):
            return self.base.model
        return " x ".join(map(str, config.channels))

    @property
    def origin(self) -> GeneratorConfig:
        """What its training begins from: of a class model, whose own section has no size, the recipe's generator."""
        if isinstance(self.config, FinetuneConfig):
            return self.base
        assert self.context.recipe.generator is not None  # `base` is a variant of it
        return self.context.recipe.generator

    @property
    def size_name(self) -> str:
        """The name of its size, with which the times of its training and of its images go."""
        config = self.config
        if isinstance(config, ClassModelConfig):
            size = config.model_dump(include={"channels", "components"})
            return f"a class model {digest([self.origin.size, size])}"
        return f"{self.base.model} {digest([self.base.size, config.method])}"

    @cached_property
    def images(self) -> ImageSet:
        """The images that it learns.

        Raises:
            UserError: A class model is to learn the pool, and the data has none.
        """
        data = self.context.data
        if isinstance(self.config, FinetuneConfig) or self.config.images == "train":
            return data.train
        if data.retrieval is None:
            raise UserError(
                f"class_model.images: {self.config.images}: this data has no labeled images to retrieve: name a folder "
                "under data.retrieved, or set class_model.images to train"
            )
        withheld = [data.withheld] if data.withheld is not None and self.config.images == "pool+withheld" else []
        return JoinedImages("pool", [data.train, data.retrieval, *withheld])

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles that a class model learns."""
        from genrobust.generate import styles_of

        return styles_of(self.images) if isinstance(self.config, ClassModelConfig) else ()

    @cached_property
    def objective(self) -> Finetune | ClassModel:
        """The objective: what is trained, on which images.

        Raises:
            UserError: The engine of the generator trains none.
        """
        from genrobust.generate import ClassModel, Finetune

        recipe, labels, config = self.context.recipe, self.context.data.labels, self.config
        base = self.origin
        if not isinstance(base, DiffusersConfig):
            raise UserError(f"generator.engine: {base.engine} trains no {config.noun}: set it to diffusers")
        if isinstance(config, ClassModelConfig):
            return ClassModel(base, config, self.images, labels, recipe.data_seed)
        return Finetune(base, config, self.images, labels, recipe.data_seed, recipe.class_prompts)

    @property
    def threads(self) -> int:
        """The CPU threads that train it."""
        return self.config.threads or self.context.recipe.threads

    @cached_property
    def folder(self) -> Path:
        """Where it lies, or will lie."""
        from genrobust.generate import training_inputs

        below, word = "class-models", f"unet {self.name}"
        if isinstance(self.config, FinetuneConfig):
            below, word = "finetuned", f"{Path(self.base.model).name} {self.config.method}"
        inputs = training_inputs(self.objective, self.context.device, self.threads)
        return artifact_folder(self.context.out / below, word, inputs)

    @property
    def generator(self) -> GeneratorConfig:
        """The generator that draws once it is trained: the base with other weights, or with a LoRA."""
        if isinstance(self.config, FinetuneConfig) and self.config.method == "lora":
            return self.base.model_copy(update={"lora": LoraConfig(model=str(self.folder))})
        changes = {"model": str(self.folder), "revision": None, "variant": None}
        return self.base.model_copy(update=changes)

    @property
    def is_done(self) -> bool:
        """Whether it is trained; fetches it where another machine trained it."""
        return Artifact(self.folder).fetch().is_finished


def trained_generator(context: Context, base: GeneratorConfig, name: str) -> TrainedGenerator | None:
    """Return the generator that is trained for a dataset with the base generator `base`; None where the base draws."""
    recipe = context.recipe
    dataset = recipe.datasets.get(name, DatasetConfig())
    if dataset.from_scratch:
        return TrainedGenerator(context, base, recipe.class_model_of(name))
    if dataset.finetuned:
        return TrainedGenerator(context, base, recipe.finetune or FinetuneConfig())
    return None
