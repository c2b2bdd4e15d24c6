"""The generated datasets of a study: each in a folder named after the hash of what its images depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrobust.core import GenrobustError, ImageSet, StudyData, UserError, address, device_kind, digest, local_folder
from genrobust.recipe import (
    GENERATED,
    ClassModelConfig,
    DatasetConfig,
    DiffusionTraining,
    GeneratorConfig,
    Recipe,
)
from genrobust.study.executors.local import Local
from genrobust.study.jobs import DoJobs, Executor, Job, Work
from genrobust.study.rates import measured, of_class_model, of_finetune, of_generator, place_of
from genrobust.study.timing import StageTimes
from genrobust.study.trained_generators import generator_training, train_in_folder, trained_folder, with_trained

if TYPE_CHECKING:
    from genrobust.data import ShardDataset
    from genrobust.generate import Generation, Plan


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
    def size(self) -> int:
        """How many images it learns from, each as often as it is seen."""
        return self.config.steps * self.config.batch_size

    @property
    def is_done(self) -> bool:
        from genrobust.generate import is_trained

        return is_trained(self.folder, self.config)


class GeneratedSet:
    """One generated dataset of a study: "generated", the recipe's own, or one of its `datasets`.

    Images that the user brought under data.generated stand in for the recipe's own. What is missing is made by
    `executor`; to another process the set goes as its name, recipe and place. Raises UserError where neither a
    generator nor such images are there.
    """

    def __init__(
        self,
        name: str,
        recipe: Recipe,
        data: StudyData,
        out: Path,
        times: StageTimes,
        say: Callable[[str], None],
        executor: Executor,
    ) -> None:
        self.name = name
        self.brought = name == GENERATED and recipe.data.generated is not None
        self._recipe, self._data, self._out, self._times, self._say = recipe, data, out, times, say
        self._executor = executor
        if not self.brought:
            self.generator, self.generate = recipe.generation(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, (self.name, self._recipe, address(self._out))

    @cached_property
    def plan(self) -> Plan:
        """The requests."""
        from genrobust.generate import plan_of

        return plan_of(self.generator, self.generate, self._data.labels, self._real, self._recipe.data_seed)

    @cached_property
    def folder(self) -> Path:
        """Where the shards lie."""
        from genrobust.generate import identity, sampling

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
        settings, base, place = self._settings, self.generator, place_of(self._recipe)
        if not (settings.from_scratch or settings.finetuned):
            return None
        config = generator_training(self._recipe, settings.from_scratch)
        folder = trained_folder(self._recipe, self._data, self._out, config)
        if isinstance(config, ClassModelConfig):
            stage, what, of = "class model", f"{config.depth} x {config.width}", of_class_model(base, config, place)
        else:
            stage, what, of = "finetune", base.model, of_finetune(base, config, place)
        return Learned(
            stage=stage,
            what=what,
            of=of,
            folder=folder,
            config=config,
            generator=with_trained(base, config, folder),
            make=lambda: train_in_folder(self._recipe, self._data, self._out, config, self._say),
        )

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
        own = self._class_model if self._settings.from_scratch else None
        return of_generator(self.generator, place_of(self._recipe), own)

    def missing(self) -> int:
        """How many images are not made yet."""
        from genrobust.data import missing_shards

        if self.brought:
            return 0
        ranges = self.plan.shards(self.generate.shard_size)
        return sum(len(ranges[i]) for i in missing_shards(self.folder, len(ranges)))

    @cached_property
    def images(self) -> ImageSet:
        """The images, made now where they are not there yet."""
        from genrobust.data import load_generated

        brought = load_generated(self._recipe.data) if self.brought else None
        return self.make() if brought is None else brought

    def bring(self) -> None:
        """Have all images on this machine that are there, before many of them are read."""
        from genrobust.data import ShardDataset

        if isinstance(self.images, ShardDataset):
            self.images.bring()

    def make(self, part: slice | None = None) -> ShardDataset:
        """Make what is missing of all shards, or of a `part`, while others may make other parts in the same folder.

        Raises UserError where the images are the user's own, and as `generate.run.generate` does.
        """
        if self.brought:
            raise UserError(f"the images of {self.name} are your own, in {self.place}: there is nothing to generate")
        self._train_generator()
        job = self._job
        shards = None if part is None else range(len(job.parts))[part]
        with job.claimed(shards) as missing:
            jobs = [Job(i, f"shard {i:06d} of {self.name}", len(job.parts[i]), self.rate_key) for i in missing]
            work = Work("generating", jobs, self.drawer, memory=self._memory() if jobs else 0)
            if jobs:
                self._say(f"generating {work.size:,} images ({self.name}) into {self.folder}")
            self._times.run(self._executor, "generate", "images", work)
            return job.opened(partial=part is not None)

    def _memory(self) -> int:
        """About how many bytes a worker takes for the generator; files hold halves, of which a CPU makes floats."""
        from genrobust.generate import weights_bytes

        return weights_bytes(self.generator) * (2 if self._device == "cpu" else 1)

    def drawer(self) -> DoJobs:
        """What draws shards, by index, once the generator is there and the folder is claimed."""
        job = self._job
        draw = job.drawer()

        def measure(shards: Sequence[int]) -> None:
            with measured(self._out, "generate", self.rate_key, sum(len(job.parts[i]) for i in shards)):
                draw(shards)

        return measure

    def learner(self) -> DoJobs:
        """What trains the generator that the set is drawn with."""

        def learn(keys: Iterable[Any]) -> None:
            learned = self.learned
            assert learned is not None  # who asks has looked
            resumed = learned.folder.exists()
            with measured(self._out, learned.stage, learned.of, 0 if resumed else learned.size):
                learned.make()

        return learn

    @property
    def _job(self) -> Generation:
        from genrobust.generate import Generation

        learned = self.learned
        if learned is not None and not learned.is_done:  # which fetches it, on a machine that did not train it
            raise GenrobustError(
                f"the {learned.config.noun} was trained, but is not in {learned.folder}: choose an --out on a disk "
                "that all nodes share, under the same path, or an URL"
            )
        return Generation(
            self.plan,
            self.generator if learned is None else learned.generator,
            self.generate,
            self._data.labels,
            self.folder,
            device=self._recipe.device,
            threads=self._recipe.threads,
            sources=self._real,
        )

    def _train_generator(self) -> None:
        """Have the generator trained that draws, where it is one to be trained and is not there yet."""
        learned = self.learned
        if learned is None:
            return
        jobs = [Job(None, f"{learned.stage} {learned.what}", learned.size, learned.of)]
        work = Work(f"training the {learned.config.noun}", [] if learned.is_done else jobs, self.learner)
        self._times.run(self._executor, learned.stage, "training images", work)

    @property
    def _class_model(self) -> ClassModelConfig:
        return self._recipe.class_model or ClassModelConfig()

    @property
    def _device(self) -> str:
        return device_kind(self._recipe.device)


def _elsewhere(name: str, recipe: Recipe, out: Path | str) -> GeneratedSet:
    """The set in another process, which reads again what it needs."""
    from genrobust.data import load_data

    here = local_folder(out)
    return GeneratedSet(name, recipe, load_data(recipe.data), here, StageTimes(here), lambda line: None, Local())
