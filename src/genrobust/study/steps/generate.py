"""The step that generates a dataset, shard by shard."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core import (
    EMBEDDED,
    REAL,
    RETRIEVED_ALL,
    RETRIEVED_WITHHELD,
    GenrobustError,
    ImageSet,
    UserError,
    digest,
)
from genrobust.data import ShardDataset, missing_shards
from genrobust.generate import Generation, Plan, class_texts, engine_of, identity, open_generated, plan_of
from genrobust.recipe import GENERATED, DatasetConfig, FinetuneConfig, GenerateConfig, GeneratorConfig
from genrobust.store import artifact_folder, plugins_of
from genrobust.study.estimates import Cost
from genrobust.study.executors.work import Item, MakeItems
from genrobust.study.steps.images import ImageStep
from genrobust.study.steps.step import NOT_SHARED, Step
from genrobust.study.steps.train_generator import TrainGenerator

PNG_SHARE = 0.6  # of the raw bytes of a photograph; drawings need less
EMBEDDED_PIXELS, PIXELS = 64, 512  # the side of images if a recipe names none
DECODING_STEPS = 1.0  # sampling steps that decoding and writing an image cost


@dataclass(frozen=True, eq=False, repr=False)
class Generate(ImageStep):
    """Generates the dataset called `name`: "generated", the recipe's own, or one of its `datasets`."""

    title = "generating"
    stage = "generate"

    name: str

    def __post_init__(self) -> None:
        recipe = self.context.recipe
        if self.name not in recipe.dataset_names:
            raise UserError(f"the recipe has no dataset {self.name!r}; there are {', '.join(recipe.dataset_names)}")
        if self.name == GENERATED and recipe.data.generated is not None:
            raise UserError(f"the images of {self.name} are your own: name their folder, {recipe.data.generated}")
        # Fail now if the recipe has no generator.
        recipe.generation(self.name)

    @property
    def row(self) -> str:
        return self.name

    @property
    def config(self) -> DatasetConfig:
        return self.context.recipe.datasets.get(self.name, DatasetConfig())

    @cached_property
    def _sections(self) -> tuple[GeneratorConfig, GenerateConfig]:
        """The sections `generator` and `generate` of the recipe, with the overrides of the dataset."""
        return self.context.recipe.generation(self.name)

    @property
    def generator(self) -> GeneratorConfig:
        """The base generator, before a training."""
        return self._sections[0]

    @property
    def generate(self) -> GenerateConfig:
        return self._sections[1]

    @cached_property
    def trained(self) -> TrainGenerator | None:
        """The step that trains the generator; None if the base draws."""
        recipe = self.context.recipe
        if self.config.from_scratch:
            return TrainGenerator(self.context, self.generator, recipe.class_model_of(self.name))
        if self.config.finetuned:
            return TrainGenerator(self.context, self.generator, recipe.finetune or FinetuneConfig())
        return None

    @cached_property
    def plan(self) -> Plan:
        return self._plan(self.generate)

    def _plan(self, generate: GenerateConfig) -> Plan:
        seed = self.config.data_seed
        if seed is None:
            seed = self.context.recipe.data_seed
        return plan_of(self.generator, generate, self.context.data.labels, self.real_images, seed, self._styles)

    @property
    def _styles(self) -> Sequence[str]:
        """The styles to draw in without text: by default all that a class model learns."""
        # Only generators of mode class have this key.
        named: tuple[str, ...] | None = getattr(self.generator, "styles", None)
        if self.trained is None:
            return named or ()
        learned = self.trained.styles
        if named is None:
            return learned
        unknown = set(named) - set(learned)
        if unknown:
            known = ", ".join(learned) or "none: class_model.images: pool takes the labeled images to retrieve"
            raise UserError(
                f"generator.styles: the class model learns no style {min(unknown)!r}; those of its images are {known}"
            )
        return named

    @property
    def real_images(self) -> ImageSet:
        """The real images that a mode may start from: of the split that is generated, since val is held out."""
        data = self.context.data
        return data.train if self.generate.split == "train" else data.val

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that the images depend on."""
        # A class model does not exist yet. The name of its folder tells everything that its weights depend on.
        if self.config.from_scratch:
            generator = self.generator.sampling()
        else:
            generator = identity(self.generator)
        inputs: dict[str, Any] = {"plan": self.plan.fingerprint, "generator": generator}
        inputs |= self.generate.model_dump(include={"shard_size", "batch_size"})
        plugins = plugins_of(*engine_of(self.generator).parts(self.generator))
        if plugins:
            inputs["plugins"] = plugins
        if not self.is_on_server:
            inputs |= {"threads": self.context.recipe.threads, "device": self.context.device}
        if self.trained is not None:
            inputs["trained"] = self.trained.folder.name
        return inputs

    @cached_property
    def folder(self) -> Path:
        word: str = self.generator.mode
        if self.generator.reads_text:
            word = self.generate.prompts.strategy
        return artifact_folder(self.context.out / "generated", f"{word}-{self.generate.per_class}", self.inputs)

    @property
    def identity(self) -> str:
        return self.folder.name

    @property
    def is_described(self) -> bool:
        """Whether its prompts describe the images: it has prompts, and they are no instructions."""
        return self.generator.reads_text and not self.generator.reads_instructions

    @property
    def class_texts(self) -> list[list[str]]:
        """The prompts by which a CLIP knows each class: the dataset's own if they describe images, or the recipe's."""
        if not self.is_described:
            return self.context.class_texts
        return class_texts(self.generate.prompts, self.context.data.labels)

    @property
    def first_images(self) -> str:
        """A hash of everything that the first image of each class depends on; equal for datasets that share it."""
        first = self._plan(self.generate.model_copy(update={"per_class": 1}))
        return digest({**self.inputs, "plan": first.fingerprint, "shard_size": None, "batch_size": None})

    @property
    def class_counts(self) -> np.ndarray:
        return np.full(len(self.plan.labels), self.plan.per_class)

    @property
    def datasets(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def made_from(self) -> set[str]:
        """The sources of real images that it starts from, or that its generator learned from."""
        if self.trained is None:
            return {REAL} if self.generator.reads_images else set()
        if self.trained.learned == "train":
            return {REAL}
        if self.trained.learned == "pool+withheld":
            withheld = {RETRIEVED_WITHHELD}
        else:
            withheld = set()
        return {REAL, RETRIEVED_ALL} | withheld

    @property
    def is_on_server(self) -> bool:
        """Whether a server draws the images, and this machine computes nothing."""
        return engine_of(self.generator).on_server

    @property
    def alone(self) -> bool:
        # The limits on cost and on simultaneous requests are those of one process.
        return self.is_on_server

    def needs(self) -> tuple[Step, ...]:
        return () if self.trained is None else (self.trained,)

    @cached_property
    def shards(self) -> Sequence[range]:
        return self.plan.shards(self.generate.shard_size)

    def missing_shards(self) -> list[int]:
        """Return the indices of the missing shards; fetches shards that other machines made."""
        return missing_shards(self.folder, len(self.shards))

    def is_made(self) -> bool:
        return not self.missing_shards()

    def open_made(self) -> ShardDataset:
        missing = len(self.missing_shards())
        if missing:
            raise UserError(f"{self.name}: {missing} of {len(self.shards)} shards are not generated yet")
        return open_generated(self.folder)

    def fetch_files(self) -> None:
        self.open_made().fetch_tars()

    def items(self) -> list[Item]:
        missing = set(self.missing_shards())
        items: list[Item] = []
        for index, requests in enumerate(self.shards):
            total = len(requests)
            size = total if index in missing else 0
            items.append(Item(key=index, name=f"shard {index:06d} of {self.name}", size=size, total=total))
        return items

    @cached_property
    def _generation(self) -> Generation:
        drawn_with = self.generator if self.trained is None else self.trained.generator
        return Generation(
            self.plan,
            drawn_with,
            self.generate,
            self.folder,
            device=self.context.recipe.device,
            threads=self.context.recipe.threads,
            sources=self.real_images,
            inputs=self.inputs,
        )

    def claim(self) -> AbstractContextManager[object]:
        """Lock the dataset for a block, and finish it afterwards."""
        trained = self.trained
        if trained is not None and not trained.is_made():
            raise GenrobustError(f"the {trained.config.noun} was trained, but is not in {trained.folder}: {NOT_SHARED}")
        return self._generation.claimed()

    def announce(self, items: Sequence[Item]) -> None:
        images = sum(item.size for item in items)
        self.context.log(f"generating {images:,} images ({self.name}) into {self.folder}")
        classes = self.context.data.labels.classes
        numbered = [number for number, label in enumerate(classes) if label.prompt.isdecimal()]
        prompt = self.plan[numbered[0]].prompt if numbered else ""
        if prompt:
            self.context.log(
                f"classes are called by numbers, as in the prompt {prompt!r}: name them in data.class_names"
            )

    def load(self) -> MakeItems:
        return self._generation.load()

    def memory(self) -> int:
        """Return the bytes of the generator's weights: files hold halves, which a CPU converts to floats."""
        weights = engine_of(self.generator).weights_bytes(self.generator)
        return 2 * weights if self.context.device == "cpu" else weights

    def cost(self, item: Item) -> Cost:
        cost = replace(generation_cost(self.generator), disk=item.size * _pixels(self.generator) * 3 * PNG_SHARE)
        if self.trained is None or not self.config.from_scratch:
            return cost
        return replace(cost, of=f"a class model for {self.generator.model}", kind=self.trained.size_name)


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
