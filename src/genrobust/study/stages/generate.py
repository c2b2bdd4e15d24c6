"""The stage that draws generated datasets, each in a folder named after what its images depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from genrobust.core import (
    EMBEDDED,
    GenrobustError,
    ImageSet,
    UserError,
    about,
    artifact_folder,
    device_name,
    digest,
    plugins_of,
)
from genrobust.data import ShardDataset, missing_shards
from genrobust.generate import Generation, Plan, engine_of, identity, plan_of
from genrobust.recipe import GENERATED, DatasetConfig, GeneratorConfig
from genrobust.study.context import Context
from genrobust.study.estimates import Cost, known_rate, measured_once
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.stages.stage import NOT_SHARED, Stage
from genrobust.study.stages.train_generator import (
    TrainedGenerator,
    TrainGenerator,
    trained_generator,
)

BATCH_SIZES = "batch_size"  # what they are kept under, beside the rates of stages
PNG_SHARE = 0.6  # of the raw bytes of a photograph; drawings take less
EMBEDDED_PIXELS, PIXELS = 64, 512  # the side of images where a recipe names none
DECODING_STEPS = 1.0  # of a network, which decoding an image and writing it cost


class GeneratedDataset:
    """One generated dataset of a study: "generated", the recipe's own, or one of its `datasets`.

    Images that the user has under data.generated stand in for the recipe's own.

    Raises:
        UserError: There is neither a generator nor such images, or the recipe has no dataset of this name.
    """

    def __init__(self, context: Context, name: str) -> None:
        self.context, self.name, recipe = context, name, context.recipe
        known = [GENERATED, *recipe.datasets]
        if name not in known:
            raise UserError(f"the recipe has no dataset {name!r}; there are {', '.join(known)}")
        self.user_provided = name == GENERATED and recipe.data.generated is not None
        self._config = recipe.datasets.get(name, DatasetConfig())
        if not self.user_provided:
            self.generator, self.generate = recipe.generation(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return GeneratedDataset, (self.context, self.name)

    def __repr__(self) -> str:
        return f"GeneratedDataset(name={self.name!r})"

    @cached_property
    def plan(self) -> Plan:
        """The requests.

        Raises:
            UserError: The user provided the images.
        """
        if self.user_provided:
            raise UserError(f"the images of {self.name} are your own, in data.generated: there are no prompts")
        labels, seed = self.context.data.labels, self._config.data_seed
        if seed is None:
            seed = self.context.recipe.data_seed
        return plan_of(self.generator, self.generate, labels, self.sources, seed, self._styles)

    @property
    def _styles(self) -> Sequence[str]:
        """The styles that are drawn by name, without text: those of the recipe, or all that a class model learns."""
        styles: tuple[str, ...] | None = getattr(self.generator, "styles", None)
        if styles is None:
            return () if self.trained is None else self.trained.styles
        if self.trained is not None and (unknown := set(styles) - set(self.trained.styles)):
            known = (
                ", ".join(self.trained.styles) or "none: class_model.images: pool takes the labeled images to retrieve"
            )
            raise UserError(
                f"generator.styles: the class model learns no style {min(unknown)!r}; those of its images are {known}"
            )
        return styles

    @property
    def sources(self) -> ImageSet:
        """The real images that a mode may begin from, of the split that is generated: a val part is held out whole."""
        data = self.context.data
        return data.train if self.generate.split == "train" else data.val

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """All that the images depend on, before anything is made."""
        # A class model is not loaded before it is there, and its folder's name says all that its weights depend on.
        generator = self.generator.sampling() if self._config.from_scratch else identity(self.generator)
        inputs: dict[str, Any] = {"plan": self.plan.fingerprint, "generator": generator}
        inputs |= self.generate.model_dump(include={"shard_size", "batch_size"})
        if plugins := plugins_of(type(self.generator), engine_of(self.generator)):
            inputs["plugins"] = plugins
        if not self.is_on_server:
            inputs |= {"threads": self.context.recipe.threads, "device": self.context.device}
        if self.trained is not None:
            inputs["trained"] = self.trained.folder.name
        return inputs

    @cached_property
    def folder(self) -> Path:
        """Where the shards lie, or the user's own images."""
        user_folder = self.context.recipe.data.generated if self.user_provided else None
        if user_folder is not None:
            return user_folder
        word = self.generate.prompts.strategy if self.generator.reads_text else self.generator.mode
        return artifact_folder(self.context.out / "generated", f"{word}-{self.generate.per_class}", self.inputs)

    @cached_property
    def identity(self) -> str:
        """A hash of all that the images depend on; of the user's own images that of their content."""
        return self.images.fingerprint if self.user_provided else self.folder.name

    @cached_property
    def trained(self) -> TrainedGenerator | None:
        """The generator that is trained for this dataset; None for one drawn with the base."""
        return None if self.user_provided else trained_generator(self.context, self.generator, self._config)

    @property
    def drawn_with(self) -> GeneratorConfig:
        """The generator that draws: the base, or the one that is trained."""
        return self.generator if self.trained is None else self.trained.generator

    @cached_property
    def is_on_server(self) -> bool:
        """Whether a server draws the images, and this machine computes nothing."""
        return not self.user_provided and engine_of(self.generator).on_server

    @property
    def cost(self) -> Cost:
        """What an image takes."""
        cost = generation_cost(self.generator)
        return replace(cost, of=f"a class model for {self.generator.model}") if self._config.from_scratch else cost

    @cached_property
    def shards(self) -> Sequence[range]:
        """The requests of each shard, by index."""
        return [] if self.user_provided else self.plan.shards(self.generate.shard_size)

    def missing_shards(self) -> list[int]:
        """Return the indices of the shards that are not made yet."""
        return [] if self.user_provided else missing_shards(self.folder, len(self.shards))

    @cached_property
    def images(self) -> ImageSet:
        """The images, generated now where they are missing."""
        user_images = self.context.data.generated if self.user_provided else None
        return self.make() if user_images is None else user_images

    def fetch_tars(self) -> None:
        """Fetch all images that are made, before many of them are read."""
        if isinstance(self.images, ShardDataset):
            self.images.fetch_tars()

    def make(self, part: slice | None = None) -> ShardDataset:
        """Generate what is missing of all shards, or of a `part`, while other machines make other parts.

        Raises:
            UserError: The images are the user's own, the generator cannot be found, or the folder holds another
                dataset, is in use, or cannot be written.
            GenrobustError: A completed shard is damaged.
        """
        if self.user_provided:
            raise UserError(f"the images of {self.name} are your own, in {self.folder}: there is nothing to generate")
        stage = Generate(self, part)
        stage.run()
        return stage.generation.opened(partial=part is not None)


class Generate(Stage):
    """Draws one dataset, a job a shard, or a `part` of its shards."""

    name = "generate"
    title = "generating"

    def __init__(self, dataset: GeneratedDataset, part: slice | None = None) -> None:
        trained = dataset.trained
        needs = [] if trained is None else [TrainGenerator(trained)]
        super().__init__(dataset.context, needs)
        self.dataset, self.part = dataset, part

    def jobs(self) -> list[Job]:
        dataset, missing = self.dataset, set(self.dataset.missing_shards())
        jobs = [
            Job(
                key=i,
                name=f"shard {i:06d} of {dataset.name}",
                size=len(requests) if i in missing else 0,
                row=dataset.name,
                folder=dataset.folder,
                total=len(requests),
            )
            for i, requests in enumerate(dataset.shards)
        ]
        return jobs if self.part is None else jobs[self.part]

    def work(self) -> None:
        if not self.dataset.user_provided:
            with self.generation.claimed(None if self.part is None else [job.key for job in self.jobs()]):
                super().work()

    def announce(self, jobs: Sequence[Job]) -> None:
        count = sum(job.size for job in jobs)
        self.context.log(f"generating {count:,} images ({self.dataset.name}) into {self.dataset.folder}")
        numbered = (i for i, label in enumerate(self.context.data.labels.classes) if label.prompt.isdecimal())
        first = next(numbered, None)
        if first is not None and (prompt := self.dataset.plan[first].prompt):
            self.context.log(
                f"classes are called by numbers, as in the prompt {prompt!r}: name them in data.class_names"
            )

    def load(self) -> DoJobs:
        return self.generation.load(self._batch_size)

    def _batch_size(self, measure: Callable[[], int]) -> int:
        """The batch size of this generator on this machine's card, kept beside the rates for each size of shards.

        A trial draws no more images at once than a shard has: what it finds may be too small for larger ones.
        """
        card, shard = device_name(self.context.recipe.device), len(self.dataset.shards[0])
        generator = self.dataset.generator
        out, key = self.context.out, f"{generator.model} {digest(generator)}, {card}, shards of {shard:,} images"
        return int(measured_once(out, BATCH_SIZES, key, measure))

    @cached_property
    def generation(self) -> Generation:
        """The generation of the dataset, once its generator is there.

        Raises:
            GenrobustError: The generator is not there.
        """
        context, dataset, trained = self.context, self.dataset, self.dataset.trained
        if trained is not None and not trained.is_done:
            raise GenrobustError(f"the {trained.config.noun} was trained, but is not in {trained.folder}: {NOT_SHARED}")
        return Generation(
            dataset.plan,
            dataset.drawn_with,
            dataset.generate,
            context.data.labels,
            dataset.folder,
            device=context.recipe.device,
            threads=context.recipe.threads,
            sources=dataset.sources,
            inputs=dataset.inputs,
        )

    def memory(self) -> int:
        """About the bytes of the generator's weights: files hold halves, of which a CPU makes floats."""
        generator = self.dataset.generator
        return engine_of(generator).weights_bytes(generator) * (2 if self.context.device == "cpu" else 1)

    @property
    def alone(self) -> bool:
        return self.dataset.is_on_server  # its bounds on cost and on requests at a time are those of a process

    def cost(self, job: Job) -> Cost:
        generator = self.dataset.generator
        side = EMBEDDED_PIXELS if generator.model == EMBEDDED else PIXELS
        width, height = generator.size
        return replace(self.dataset.cost, disk=job.size * (width or side) * (height or side) * 3 * PNG_SHARE)


def generation_cost(generator: GeneratorConfig) -> Cost:
    """Return the cost of an image of `generator`: evaluations of its network, and decoding, for each pixel."""
    if engine_of(generator).on_server:
        return Cost(1, of=f"{generator.engine} {generator.model}")
    width, height = generator.size
    amount = (generator.evaluations + DECODING_STEPS) * (width or 1) * (height or 1)
    return Cost(amount, generator.precision, generator.model)


def generation_time(images: int, generator: GeneratorConfig, worker: str, out: Path) -> str:
    """Return how long `images` images take, in words, if that was measured in `out`."""
    rate = known_rate(out, Generate.name, worker, generation_cost(generator))
    time = "not measured yet" if rate is None else f"{about(images / rate)} at {rate:.3g} images/s, measured here"
    return f"{images:,} images of {generator.drawn_steps} steps: {time}"
