"""The generated datasets of a study: each in a folder named after the hash of what its images depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.class_models import class_model, class_model_folder
from genrobust.config import ClassModelConfig, DatasetConfig, DiffusionTraining, FinetuneConfig, GeneratorConfig
from genrobust.data import ImageSet, StudyData, digest
from genrobust.devices import device_kind
from genrobust.finetuning import finetuned, finetuned_folder, with_finetuned
from genrobust.rates import of_class_model, of_finetune, of_generator
from genrobust.recipe import GENERATED, Recipe
from genrobust.timing import StageTimes

if TYPE_CHECKING:
    from genrobust.prompts.plan import Plan


@dataclass(frozen=True, slots=True)
class Learned:
    """A generator that a study trains before it draws with it: `make` does, unless it lies in `folder` already.

    `stage` and `of` are what its time is kept under (see `rates`), `generator` is what draws once it is there.
    """

    stage: str
    what: str
    of: str
    folder: Path
    config: DiffusionTraining
    generator: GeneratorConfig
    make: Callable[[], Path]

    @property
    def is_done(self) -> bool:
        from genrobust.generate.tuned import record_of

        return record_of(self.folder, self.config).exists()


class GeneratedSet:
    """One generated dataset of a study: "generated", the recipe's own, or one of its `datasets`.

    Images that the user brought under data.generated stand in for the recipe's own. Raises UserError where neither a
    generator nor such images are there.
    """

    def __init__(
        self, name: str, recipe: Recipe, data: StudyData, out: Path, times: StageTimes, say: Callable[[str], None]
    ) -> None:
        self.name = name
        self.brought = name == GENERATED and recipe.data.generated is not None
        self._recipe, self._data, self._out, self._times, self._say = recipe, data, out, times, say
        if not self.brought:
            self.generator, self.generate = recipe.generation(name)

    @cached_property
    def plan(self) -> Plan:
        """The requests."""
        from genrobust.prompts.plan import plan_of

        return plan_of(self.generator, self.generate, self._data.labels, self._real, self._recipe.data_seed)

    @cached_property
    def folder(self) -> Path:
        """Where the shards lie."""
        from genrobust.generate.pipeline import identity, sampling

        how = self.generate.model_dump(include={"shard_size", "batch_size", "max_redraws"})
        # A class model is not loaded before it is there, and its folder's name says all that its weights depend on.
        drawn = sampling(self.generator) if self._settings.from_scratch else identity(self.generator)
        what = [self.plan.fingerprint, drawn, how, self._recipe.threads, self._device]
        if self.learned is not None:
            what.append(self.learned.folder.name)
        return self._out / "generated" / digest(what)

    @cached_property
    def learned(self) -> Learned | None:
        """The generator that is trained for this dataset; None for one drawn with the base."""
        base, device, job = self.generator, self._device, (self._recipe, self._data, self._out)
        if self._settings.from_scratch:
            config, folder = self._class_model, class_model_folder(*job)
            own = {"model": str(folder), "alternatives": (), "revision": None, "variant": None}
            return Learned(
                stage="class model",
                what=f"{config.depth} x {config.width}",
                of=of_class_model(base, config, device),
                folder=folder,
                config=config,
                generator=base.model_copy(update=own),
                make=lambda: class_model(*job, self._say),
            )
        if self._settings.finetuned:
            tune, folder = self._recipe.finetune or FinetuneConfig(), finetuned_folder(*job)
            return Learned(
                stage="finetune",
                what=base.model,
                of=of_finetune(base, tune, device),
                folder=folder,
                config=tune,
                generator=with_finetuned(base, tune, folder),
                make=lambda: finetuned(*job, self._say),
            )
        return None

    @property
    def _real(self) -> ImageSet:
        """The real images that a mode may begin from, of the split that is generated: a val part is held out whole."""
        return self._data.train if self.generate.split == "train" else self._data.val

    @property
    def _settings(self) -> DatasetConfig:
        return self._recipe.datasets.get(self.name, DatasetConfig())

    @property
    def place(self) -> Path:
        """The folder of the images: the user's own, or that of the shards."""
        own = self._recipe.data.generated if self.brought else None
        return own or self.folder

    @property
    def rate_key(self) -> str:
        """What the rate of generating depends on (see `rates`)."""
        return of_generator(self.generator, self._device, self._class_model if self._settings.from_scratch else None)

    def missing(self) -> int:
        """How many images are not made yet."""
        from genrobust.store import missing_shards

        if self.brought:
            return 0
        ranges = self.plan.shards(self.generate.shard_size)
        return sum(len(ranges[i]) for i in missing_shards(self.folder, len(ranges)))

    @cached_property
    def images(self) -> ImageSet:
        """The images, made now where they are not there yet."""
        from genrobust.generate.run import generate
        from genrobust.sources.folders import load_generated

        brought = load_generated(self._recipe.data) if self.brought else None
        if brought is not None:
            return brought
        generator = self._drawn_with()
        with self._times.timed("generate", "images", self.rate_key) as stage:
            stage.missing = self.missing()
            if stage.missing:
                self._say(f"generating {stage.missing} images ({self.name}) into {self.folder}")
            return generate(
                self.plan,
                generator,
                self.generate,
                self._data.labels,
                self.folder,
                device=self._recipe.device,
                threads=self._recipe.threads,
                sources=self._real,
            )

    def _drawn_with(self) -> GeneratorConfig:
        """The generator that draws, trained now where it is one to be trained and is not there yet."""
        learned = self.learned
        if learned is None:
            return self.generator
        with self._times.timed(learned.stage, "training images", learned.of) as stage:
            stage.missing = 0 if learned.is_done else learned.config.steps * learned.config.batch_size
            stage.resumed = learned.folder.exists()
            learned.make()
        return learned.generator

    @property
    def _class_model(self) -> ClassModelConfig:
        return self._recipe.class_model or ClassModelConfig()

    @property
    def _device(self) -> str:
        return device_kind(self._recipe.device)
