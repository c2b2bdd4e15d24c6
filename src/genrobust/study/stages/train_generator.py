"""The stage that trains a generator before it draws: the base fine-tuned, or a class model trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from genrobust.classifiers import saved_steps
from genrobust.core import EMBEDDED, FLOAT32, Artifact
from genrobust.generate import engine_of
from genrobust.recipe import PATCH, SUBSTEPS, ClassModelConfig, FinetuneConfig, GeneratorConfig
from genrobust.study.estimates.rates import Cost
from genrobust.study.estimates.speed import EMBEDDED_PIXELS, LATENT_SIDE, TRAIN, step_cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources.trained_generator import TrainedGenerator
from genrobust.study.stages.stage import Stage

FINETUNED_COPIES = 5  # of a generator's weights: the fine-tuned one, and the state's weights, average and two moments


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
        """Return the cost of an image to a worker of the recipe's threads, as if more of them shared it evenly."""
        cost = self._cost_to_one()
        return replace(cost, amount=cost.amount * self.context.recipe.threads / self.trained.threads)

    def _cost_to_one(self) -> Cost:
        """The cost of an image; a fine-tune of all weights keeps copies of them, a LoRA a few MB."""
        base, config = self.trained.base, self.trained.config
        if isinstance(config, ClassModelConfig):
            amount = TRAIN * _products(base, config) / 1e9
            # On a CPU, going backward through small convolutions in bfloat16 takes nearly as long as in float32.
            precision = FLOAT32 if config.channels else config.precision
            return Cost(amount, precision, "" if base.model == EMBEDDED else "a class model")
        one_step = step_cost(base)
        calls: float = TRAIN
        if config.distil is not None:  # its teacher draws first, with guidance
            calls += 2 * SUBSTEPS * config.distil * config.distil_images / (config.steps * config.batch_size)
        full = FINETUNED_COPIES * engine_of(base).weights_bytes(base) if config.method == "full" else 0
        return replace(one_step, amount=calls * one_step.amount, precision=config.precision, disk=full)


def _products(base: GeneratorConfig, config: ClassModelConfig) -> int:
    """How many products of two numbers a class model computes for an image, nearly."""
    side = (base.size[0] or EMBEDDED_PIXELS) // (LATENT_SIDE if config.components is None else PATCH)
    if config.channels is None:
        return 12 * config.depth * config.width**2 * (side // config.patch_size) ** 2
    # A level has six convolutions of 3 x 3, two of them on twice the channels.
    return sum(8 * 9 * channels**2 * (side >> level) ** 2 for level, channels in enumerate(config.channels))
