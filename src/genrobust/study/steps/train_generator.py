"""The step that trains a generator before it draws: the base fine-tuned, or a class model trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.classifiers import saved_steps
from genrobust.core import ImageSet, JoinedImages, UserError, digest
from genrobust.generate import DiffusersConfig, LoraConfig, engine_of
from genrobust.recipe import ClassModelConfig, FinetuneConfig, GeneratorConfig
from genrobust.store import Artifact, artifact_folder
from genrobust.study.estimates import Cost
from genrobust.study.executors.work import Item
from genrobust.study.steps.step import Step

if TYPE_CHECKING:
    from genrobust.generate import ClassModel, Finetune


@dataclass(frozen=True, eq=False, repr=False)
class TrainGenerator(Step):
    """Trains the generator `base` as `config` says. It is one item."""

    counted = "training images"

    base: GeneratorConfig
    config: FinetuneConfig | ClassModelConfig

    @property
    def stage(self) -> str:
        if isinstance(self.config, FinetuneConfig):
            return "finetune"
        return self.config.noun

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"training the {self.config.noun}"

    @property
    def row(self) -> str:
        """The name that the user knows it by."""
        if isinstance(self.config, ClassModelConfig):
            return " x ".join(map(str, self.config.channels))
        return self.base.model

    @property
    def origin(self) -> GeneratorConfig:
        """The generator that training begins from. A class model has no size of its own: it takes the recipe's."""
        if isinstance(self.config, FinetuneConfig):
            return self.base
        # `base` is a variant of the recipe's generator.
        assert self.context.recipe.generator is not None
        return self.context.recipe.generator

    @property
    def size_name(self) -> str:
        """The name of its size, on which the times of its training and of its images depend."""
        config = self.config
        if isinstance(config, ClassModelConfig):
            size = config.model_dump(include={"channels", "components"})
            return f"a class model {digest([self.origin.size, size])}"
        return f"{self.base.model} {digest([self.base.size, config.method])}"

    @cached_property
    def images(self) -> ImageSet:
        data = self.context.data
        if isinstance(self.config, FinetuneConfig) or self.config.images == "train":
            return data.train
        if data.retrieval is None:
            raise UserError(
                f"class_model.images: {self.config.images}: this data has no labeled images to retrieve: name a folder "
                "under data.retrieved, or set class_model.images to train"
            )
        pool = [data.train, data.retrieval]
        if data.withheld is not None and self.config.images == "pool+withheld":
            pool.append(data.withheld)
        return JoinedImages("pool", pool)

    @property
    def learned(self) -> str:
        """The images that it learns from, by their name in a recipe."""
        return getattr(self.config, "images", "train")

    @property
    def styles(self) -> tuple[str, ...]:
        from genrobust.generate import styles_of

        if isinstance(self.config, ClassModelConfig):
            return styles_of(self.images)
        return ()

    @cached_property
    def objective(self) -> Finetune | ClassModel:
        from genrobust.generate import ClassModel, Finetune

        recipe = self.context.recipe
        labels = self.context.data.labels
        base = self.origin
        if not isinstance(base, DiffusersConfig):
            raise UserError(f"generator.engine: {base.engine} trains no {self.config.noun}: set it to diffusers")
        if isinstance(self.config, ClassModelConfig):
            return ClassModel(base, self.config, self.images, labels, recipe.data_seed)
        return Finetune(base, self.config, self.images, labels, recipe.data_seed, recipe.class_prompts)

    @property
    def threads(self) -> int:
        return self.config.threads or self.context.recipe.threads

    @cached_property
    def folder(self) -> Path:
        from genrobust.generate import training_inputs

        below = "class-models"
        word = f"unet {self.row}"
        if isinstance(self.config, FinetuneConfig):
            below = "finetuned"
            word = f"{Path(self.base.model).name} {self.config.method}"
        inputs = training_inputs(self.objective, self.context.device, self.threads)
        return artifact_folder(self.context.out / below, word, inputs)

    @property
    def generator(self) -> GeneratorConfig:
        """The generator that draws after the training: the base with other weights, or with a LoRA."""
        if isinstance(self.config, FinetuneConfig) and self.config.method == "lora":
            return self.base.model_copy(update={"lora": LoraConfig(model=str(self.folder))})
        return self.base.model_copy(update={"model": str(self.folder), "revision": None, "variant": None})

    def items(self) -> list[Item]:
        config = self.config
        is_made = self.is_made()
        return [
            Item(
                key=self.stage,
                name=f"{self.stage} {self.row}",
                size=0 if is_made else config.steps * config.batch_size,
                total=config.steps,
                unit="steps",
                each=config.batch_size,
                saved=0 if is_made else saved_steps(self.folder),
            )
        ]

    def announce(self, items: Sequence[Item]) -> None:
        config = self.config
        kinds = f"{len(self.context.data.labels)} classes"
        if self.styles:
            kinds += f" in {len(self.styles)} styles ({', '.join(self.styles)})"
        training = f"the {config.noun} on {len(self.images):,} images of {kinds}"
        self.context.log(f"training {training}, {config.steps} steps, into {self.folder}")

    def make(self, keys: Sequence[str]) -> None:
        from genrobust.generate import train_generator

        del keys
        train_generator(self.objective, self.folder, self.context.recipe.device, self.threads)

    def finish(self, made: Sequence[Item]) -> None:
        # A run may have been killed after it finished.
        Artifact(self.folder).clean()

    def cost(self, item: Item) -> Cost:
        """Return the cost of an image. A fine-tune of all weights is as large as the base, a LoRA has a few MB."""
        is_full = isinstance(self.config, FinetuneConfig) and self.config.method == "full"
        disk = engine_of(self.base).weights_bytes(self.base) if is_full else 0
        return Cost(1, self.config.precision, self.size_name, disk=disk)
