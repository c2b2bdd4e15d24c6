"""The generated datasets of a study: each in a folder named after the hash of what its images depend on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.config import FinetuneConfig, GeneratorConfig
from genrobust.data import ImageSet, StudyData, digest
from genrobust.devices import resolve_device
from genrobust.finetuning import finetuned, finetuned_folder, is_finetuned, with_finetuned
from genrobust.rates import of_finetune, of_generator
from genrobust.recipe import GENERATED, Recipe
from genrobust.timing import StageTimes

if TYPE_CHECKING:
    from genrobust.prompts.plan import Plan


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
        self._finetuned = name in recipe.datasets and recipe.datasets[name].finetuned

    @cached_property
    def plan(self) -> Plan:
        """The requests."""
        from genrobust.prompts.plan import plan_of

        return plan_of(self.generator, self.generate, self._data.labels, self._data.train, self._recipe.data_seed)

    @cached_property
    def folder(self) -> Path:
        """Where the shards lie."""
        from genrobust.generate.pipeline import identity

        how = self.generate.model_dump(include={"shard_size", "batch_size", "max_redraws"})
        what = [self.plan.fingerprint, identity(self.generator), how, self._recipe.threads, self._device]
        if self.tuned is not None:
            what.append(self.tuned.name)
        return self._out / "generated" / digest(what)

    @cached_property
    def tuned(self) -> Path | None:
        """Where the fine-tuned generator of this dataset lies, or will lie; None for one drawn with the base."""
        return finetuned_folder(self._recipe, self._data, self._out) if self._finetuned else None

    @property
    def place(self) -> Path:
        """The folder of the images: the user's own, or that of the shards."""
        own = self._recipe.data.generated if self.brought else None
        return own or self.folder

    @property
    def rate_key(self) -> str:
        """What the rate of generating depends on (see `rates`)."""
        return of_generator(self.generator, self._device)

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
        generator = self.generator if self.tuned is None else self._finetune(self.tuned)
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
                sources=self._data.train,
            )

    def _finetune(self, folder: Path) -> GeneratorConfig:
        """The generator with its fine-tuned weights, made now where they are not there yet."""
        config = self._recipe.finetune or FinetuneConfig()
        of = of_finetune(self.generator, config, self._device)
        with self._times.timed("finetune", "training images", of) as stage:
            stage.missing = 0 if is_finetuned(folder) else config.steps * config.batch_size
            stage.resumed = folder.exists()
            finetuned(self._recipe, self._data, self._out, self._say)
        return with_finetuned(self.generator, config, folder)

    @property
    def _device(self) -> str:
        return resolve_device(self._recipe.device).type
