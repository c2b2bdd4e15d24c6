"""The stage that draws generated datasets, each in a folder named after what its images depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from genrobust.core import EMBEDDED, GenrobustError
from genrobust.generate import Generation, engine_of
from genrobust.recipe import GeneratorConfig
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources.dataset import GeneratedDataset
from genrobust.study.stages.stage import NOT_SHARED, Stage
from genrobust.study.stages.train_generator import TrainGenerator

PNG_SHARE = 0.6  # of the raw bytes of a photograph; drawings take less
EMBEDDED_PIXELS, PIXELS = 64, 512  # the side of images where a recipe names none
DECODING_STEPS = 1.0  # of a network, which decoding an image and writing it cost


class Generate(Stage):
    """Draws one dataset, a job a shard."""

    name = "generate"
    title = "generating"

    def __init__(self, dataset: GeneratedDataset) -> None:
        trained = dataset.trained
        needs = [] if trained is None else [TrainGenerator(trained)]
        super().__init__(dataset.context, needs)
        self.dataset = dataset

    def jobs(self) -> list[Job]:
        dataset, missing = self.dataset, set(self.dataset.missing_shards())
        return [
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

    def work(self) -> None:
        with self.generation.claimed():
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
        return self.generation.load()

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
            dataset.folder,
            device=context.recipe.device,
            threads=context.recipe.threads,
            sources=dataset.real_images,
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
        return replace(dataset_cost(self.dataset), disk=job.size * _pixels(self.dataset.generator) * 3 * PNG_SHARE)


def dataset_cost(dataset: GeneratedDataset) -> Cost:
    """Return what an image of a dataset takes."""
    cost, trained = generation_cost(dataset.generator), dataset.trained
    if trained is None or not dataset.config.from_scratch:
        return cost
    return replace(cost, of=f"a class model for {dataset.generator.model}", kind=trained.size_name)


def generation_cost(generator: GeneratorConfig) -> Cost:
    """Return the cost of an image of `generator`: evaluations of its network, and decoding, for each pixel."""
    if engine_of(generator).on_server:
        return Cost(1, of=f"{generator.engine} {generator.model}")
    amount = (generator.evaluations + DECODING_STEPS) * _pixels(generator)
    return Cost(amount, generator.precision, generator.model)


def _pixels(generator: GeneratorConfig) -> int:
    side = EMBEDDED_PIXELS if generator.model == EMBEDDED else PIXELS
    width, height = generator.size
    return (width or side) * (height or side)
