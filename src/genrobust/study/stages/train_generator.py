"""The stage that trains a generator before it draws: the base fine-tuned, or a class model trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence

from genrobust.classifiers import saved_steps
from genrobust.core import Artifact
from genrobust.generate import engine_of
from genrobust.recipe import FinetuneConfig
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources.trained_generator import TrainedGenerator
from genrobust.study.stages.stage import Stage


class TrainGenerator(Stage):
    """Trains one generator, in one job."""

    items = "training images"

    def __init__(self, trained: TrainedGenerator) -> None:
        super().__init__(trained.context)
        self.trained, self.name, self.title = trained, trained.stage, f"training the {trained.config.noun}"

    @property
    def threads(self) -> int:
        return self.trained.threads

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
        """Return the cost of an image; a fine-tune of all weights has their size, a LoRA a few MB."""
        base, config = self.trained.base, self.trained.config
        is_full = isinstance(config, FinetuneConfig) and config.method == "full"
        disk = engine_of(base).weights_bytes(base) if is_full else 0
        return Cost(1, config.precision, self.trained.size_name, disk=disk)
