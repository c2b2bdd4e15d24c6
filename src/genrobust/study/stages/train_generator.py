"""The stage that trains a generator before it draws: the base fine-tuned, or a class model trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.classifiers import saved_steps
from genrobust.core import Artifact, ImageSet, JoinedImages, UserError, artifact_folder, digest
from genrobust.generate import DiffusersConfig, LoraConfig, engine_of
from genrobust.recipe import ClassModelConfig, DatasetConfig, FinetuneConfig, GeneratorConfig
from genrobust.study.context import Context
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.stages.stage import Stage

if TYPE_CHECKING:
    from genrobust.generate import ClassModel, Finetune

FINETUNED_COPIES = 5  # of a generator's weights: the fine-tuned one, and the state's weights, average and two moments


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator that a study trains on images as `config` says, from the generator `base`."""

    context: Context
    base: GeneratorConfig
    config: FinetuneConfig | ClassModelConfig

    def __reduce__(self) -> tuple[object, ...]:
        return TrainedGenerator, (self.context, self.base, self.config)

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
        return " x ".join(map(str, config.channels or (config.depth, config.width)))

    @cached_property
    def images(self) -> ImageSet:
        """The images that it learns.

        Raises:
            UserError: `class_model.images` names the pool, and the data has none.
        """
        data = self.context.data
        if isinstance(self.config, FinetuneConfig) or self.config.images == "train":
            return data.train
        if data.retrieval is None:
            raise UserError(
                "class_model.images: pool: this data has no labeled images to retrieve: name a folder under "
                "data.retrieved, or set class_model.images to train"
            )
        return JoinedImages("pool", [data.train, data.retrieval])

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
        from genrobust.generate import ClassModel, Distillation, Finetune

        recipe, labels, config = self.context.recipe, self.context.data.labels, self.config
        base = self.base
        if not isinstance(config, FinetuneConfig):  # its base draws by class, which the recipe's generator need not
            assert recipe.generator is not None  # of which `base` is a variant
            fields = type(recipe.generator).model_fields
            size = zip(("width", "height"), self.base.size, strict=True)
            base = recipe.generator.model_copy(update={key: value for key, value in size if key in fields})
        if not isinstance(base, DiffusersConfig):
            raise UserError(f"generator.engine: {base.engine} trains no {config.noun}: set it to diffusers")
        if isinstance(config, ClassModelConfig):
            return ClassModel(base, config, self.images, labels, recipe.data_seed)
        objective = Finetune if config.distil is None else Distillation
        return objective(base, config, self.images, labels, recipe.data_seed, recipe.generate.prompts)

    @property
    def threads(self) -> int:
        """The CPU threads that train it."""
        return self.config.threads or self.context.recipe.threads

    @cached_property
    def folder(self) -> Path:
        """Where it lies, or will lie."""
        from genrobust.generate import training_inputs

        below = "finetuned" if isinstance(self.config, FinetuneConfig) else f"{self.config.noun.replace(' ', '-')}s"
        inputs = training_inputs(self.objective, self.context.device, self.threads)
        return artifact_folder(self.context.out / below, self._folder_prefix, inputs)

    @property
    def _folder_prefix(self) -> str:
        """What its folder is called before the hash of its inputs."""
        config, base = self.config, Path(self.base.model).name
        if isinstance(config, FinetuneConfig):
            return f"{base} {config.method}" + ("" if config.distil is None else f" {config.distil} steps")
        return f"{'unet' if config.channels else 'dit'} {self.name}"

    @property
    def generator(self) -> GeneratorConfig:
        """The generator that draws once it is trained: the base with other weights, or with a LoRA."""
        config, changes = self.config, {}
        if isinstance(config, FinetuneConfig) and config.distil is not None:
            changes = {"steps": config.distil, "scheduler": "euler-trailing", "guidance_scale": 1.0}
            changes["guidance_until"] = 1.0
        if isinstance(config, FinetuneConfig) and config.method == "lora":
            return self.base.model_copy(update={**changes, "lora": LoraConfig(model=str(self.folder))})
        changes |= {"model": str(self.folder), "alternatives": (), "revision": None, "variant": None}
        return self.base.model_copy(update=changes)

    @property
    def is_done(self) -> bool:
        """Whether it is trained; fetches it where another machine trained it."""
        return Artifact(self.folder).fetch().is_finished


def trained_generator(context: Context, base: GeneratorConfig, dataset: DatasetConfig) -> TrainedGenerator | None:
    """Return the generator that is trained for a dataset with the base generator `base`; None where the base draws."""
    recipe = context.recipe
    if dataset.from_scratch:
        return TrainedGenerator(context, base, recipe.class_model or ClassModelConfig())
    if dataset.finetuned:
        return TrainedGenerator(context, base, recipe.finetune or FinetuneConfig())
    return None


class TrainGenerator(Stage):
    """Trains one generator, in one job."""

    items = "training images"

    def __init__(self, trained: TrainedGenerator) -> None:
        super().__init__(trained.context)
        self.trained, self.name, self.title = trained, trained.stage, f"training the {trained.config.noun}"

    def jobs(self) -> list[Job]:
        trained, config, done = self.trained, self.trained.config, self.trained.is_done
        return [
            Job(
                key=self.name,
                name=f"{self.name} {trained.name}",
                size=0 if done else config.steps * config.batch_size,
                row=trained.name,
                folder=trained.folder,
                total=config.steps,
                unit="steps",
                each=config.batch_size,
                saved=0 if done else saved_steps(trained.folder),
            )
        ]

    def announce(self, jobs: Sequence[Job]) -> None:
        trained, config = self.trained, self.trained.config
        if isinstance(config, FinetuneConfig) and config.distil is not None:
            steps = f"{config.distil} steps without guidance"
            self.context.log(f"distilling {trained.name} to {steps}, {config.steps} steps, into {trained.folder}")
            return
        kinds = f"{len(self.context.data.labels)} classes"
        if trained.styles:
            kinds += f" in {len(trained.styles)} styles ({', '.join(trained.styles)})"
        training = f"the {config.noun} on {len(trained.images):,} images of {kinds}"
        self.context.log(f"training {training}, {config.steps} steps, into {self.trained.folder}")

    def do(self, todo: Sequence[Job]) -> None:
        super().do(todo)
        Artifact(self.trained.folder).clean()  # of a run that was killed when it had finished

    def load(self) -> DoJobs:
        from genrobust.generate import train_generator

        context, trained = self.context, self.trained

        def train(names: Sequence[str]) -> None:
            del names
            train_generator(trained.objective, trained.folder, context.recipe.device, trained.threads)

        return train

    def cost(self, job: Job) -> Cost:
        """Return the cost of an image; a fine-tune of all weights keeps copies of them, a LoRA a few MB."""
        base, config = self.trained.base, self.trained.config
        if isinstance(config, ClassModelConfig):
            size = config.model_dump(include={"depth", "width", "channels", "components"})
            return Cost(1, config.precision, f"a class model {digest([base.size, size])}")
        full = FINETUNED_COPIES * engine_of(base).weights_bytes(base) if config.method == "full" else 0
        kind = f"{base.model} {digest([base.size, config.method, config.distil])}"
        return Cost(1, config.precision, kind, disk=full)
