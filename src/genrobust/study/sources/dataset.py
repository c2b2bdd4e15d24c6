"""A generated dataset of a study: what it is drawn from, and the folder that is named after that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core import (
    REAL,
    RETRIEVED_ALL,
    RETRIEVED_WITHHELD,
    ImageSet,
    UserError,
    artifact_folder,
    digest,
    plugins_of,
)
from genrobust.data import ShardDataset, missing_shards
from genrobust.generate import Plan, class_texts, engine_of, identity, open_generated, plan_of
from genrobust.recipe import GENERATED, DatasetConfig, GenerateConfig, GeneratorConfig
from genrobust.study.context import Context
from genrobust.study.sources.source import ImageSource
from genrobust.study.sources.trained_generator import TrainedGenerator, trained_generator


class GeneratedDataset(ImageSource):
    """One generated dataset of a study: "generated", the recipe's own, or one of its `datasets`.

    Raises:
        UserError: There is no generator, the recipe has no dataset of this name, or its images are the user's own.
    """

    def __init__(self, context: Context, name: str) -> None:
        self.context, self.name, recipe = context, name, context.recipe
        if name not in recipe.dataset_names:
            raise UserError(f"the recipe has no dataset {name!r}; there are {', '.join(recipe.dataset_names)}")
        if name == GENERATED and recipe.data.generated is not None:
            raise UserError(f"the images of {name} are your own: name their folder, {recipe.data.generated}")
        self.config = recipe.datasets.get(name, DatasetConfig())
        self.generator, self.generate = recipe.generation(name)

    def __repr__(self) -> str:
        return f"GeneratedDataset(name={self.name!r})"

    @property
    def datasets(self) -> Sequence[str]:
        return [self.name]

    @cached_property
    def plan(self) -> Plan:
        """The requests."""
        return self._plan(self.generate)

    def _plan(self, generate: GenerateConfig) -> Plan:
        labels, seed = self.context.data.labels, self.config.data_seed
        if seed is None:
            seed = self.context.recipe.data_seed
        return plan_of(self.generator, generate, labels, self.real_images, seed, self._styles)

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
    def real_images(self) -> ImageSet:
        """The real images that a mode may begin from, of the split that is generated: a val part is held out whole."""
        data = self.context.data
        return data.train if self.generate.split == "train" else data.val

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """All that the images depend on, before anything is made."""
        # A class model is not loaded before it is there, and its folder's name says all that its weights depend on.
        generator = self.generator.sampling() if self.config.from_scratch else identity(self.generator)
        inputs: dict[str, Any] = {"plan": self.plan.fingerprint, "generator": generator}
        inputs |= self.generate.model_dump(include={"shard_size", "batch_size"})
        if plugins := plugins_of(*engine_of(self.generator).parts(self.generator)):
            inputs["plugins"] = plugins
        if not self.is_on_server:
            inputs |= {"threads": self.context.recipe.threads, "device": self.context.device}
        if self.trained is not None:
            inputs["trained"] = self.trained.folder.name
        return inputs

    @property
    def is_described(self) -> bool:
        """Whether its prompts describe what its images show: no instructions, and not none."""
        return self.generator.reads_text and not self.generator.reads_instructions

    @property
    def class_texts(self) -> list[list[str]]:
        """The prompts of each class that a CLIP knows it by: its own, or the recipe's where these do not describe."""
        if not self.is_described:
            return self.context.class_texts
        return class_texts(self.generate.prompts, self.context.data.labels)

    @property
    def first_images(self) -> str:
        """A hash of all that the first image of each class depends on: of two datasets, the same if they share it."""
        first = self._plan(self.generate.model_copy(update={"per_class": 1}))
        return digest({**self.inputs, "plan": first.fingerprint, "shard_size": None, "batch_size": None})

    @cached_property
    def folder(self) -> Path:
        """Where the shards lie, or will lie."""
        word = self.generate.prompts.strategy if self.generator.reads_text else self.generator.mode
        return artifact_folder(self.context.out / "generated", f"{word}-{self.generate.per_class}", self.inputs)

    @property
    def identity(self) -> str:
        return self.folder.name

    @cached_property
    def class_counts(self) -> np.ndarray:
        return np.full(len(self.plan.labels), self.plan.per_class)

    @cached_property
    def trained(self) -> TrainedGenerator | None:
        """The generator that is trained for this dataset; None for one drawn with the base."""
        return trained_generator(self.context, self.generator, self.name)

    @property
    def drawn_with(self) -> GeneratorConfig:
        """The generator that draws: the base, or the one that is trained."""
        return self.generator if self.trained is None else self.trained.generator

    @property
    def made_from(self) -> set[str]:
        """The sources of real images that it begins from, or that its generator learned, all of each."""
        learned = "train" if self.trained is None else getattr(self.trained.config, "images", "train")
        own = {REAL} if self.generator.reads_images or self.trained is not None else set()
        if learned == "train":
            return own
        return {REAL, RETRIEVED_ALL, *([RETRIEVED_WITHHELD] if learned == "pool+withheld" else [])}

    @cached_property
    def is_on_server(self) -> bool:
        """Whether a server draws the images, and this machine computes nothing."""
        return engine_of(self.generator).on_server

    @cached_property
    def shards(self) -> Sequence[range]:
        """The requests of each shard, by index."""
        return self.plan.shards(self.generate.shard_size)

    def missing_shards(self) -> list[int]:
        """Return the indices of the shards that are not made yet; fetches those that other machines made."""
        return missing_shards(self.folder, len(self.shards))

    @property
    def is_made(self) -> bool:
        return not self.missing_shards()

    @cached_property
    def images(self) -> ShardDataset:
        if missing := len(self.missing_shards()):
            raise UserError(f"{self.name}: {missing} of {len(self.shards)} shards are not generated yet")
        return open_generated(self.folder)
