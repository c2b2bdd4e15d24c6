"""The stage that trains a generator before it draws: the base fine-tuned, or a class model trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genrobust.core import Subset
from genrobust.recipe import ClassModelConfig, DatasetConfig, DiffusionTraining, FinetuneConfig, GeneratorConfig
from genrobust.study.class_models import class_model, class_model_folder
from genrobust.study.context import Context
from genrobust.study.finetuning import finetuned, finetuned_folder, with_finetuned
from genrobust.study.jobs import DoJobs, Job
from genrobust.study.rates import measured
from genrobust.study.stage import Stage

FINETUNED_COPIES = 5  # of a generator's weights: the fine-tuned one, and the state's weights, average and two moments


@dataclass(frozen=True, slots=True)
class TrainedGenerator:
    """A generator that a study trains, in `folder`; `generator` is what draws once it is there."""

    name: str
    of: str
    folder: Path
    config: DiffusionTraining
    generator: GeneratorConfig

    @property
    def is_done(self) -> bool:
        """Whether it is trained; fetches it where another machine trained it."""
        from genrobust.generate import is_trained

        return is_trained(self.folder, self.config)


def trained_generator(context: Context, base: GeneratorConfig, dataset: DatasetConfig) -> TrainedGenerator | None:
    """Return the generator that is trained for a dataset with the base generator `base`; None where the base draws."""
    recipe, what = context.recipe, (context.recipe, context.data, context.out)
    if dataset.from_scratch:
        own, folder = recipe.class_model or ClassModelConfig(), class_model_folder(*what)
        weights = {"model": str(folder), "alternatives": (), "revision": None, "variant": None}
        drawn = base.model_copy(update=weights)
        return TrainedGenerator("class model", f"{own.depth} x {own.width}", folder, own, drawn)
    if dataset.finetuned:
        tune, folder = recipe.finetune or FinetuneConfig(), finetuned_folder(*what)
        return TrainedGenerator("finetune", base.model, folder, tune, with_finetuned(base, tune, folder))
    return None


class TrainGenerator(Stage):
    """Trains one generator, in one job."""

    items = "training images"

    def __init__(self, context: Context, base: GeneratorConfig, trained: TrainedGenerator) -> None:
        super().__init__(context)
        self.name, self.title = trained.name, f"training the {trained.config.noun}"
        self.base, self.trained = base, trained

    def jobs(self) -> list[Job]:
        trained, config = self.trained, self.trained.config
        return [
            Job(
                key=trained.name,
                name=f"{trained.name} {trained.of}",
                size=0 if trained.is_done else config.steps * config.batch_size,
                rate_key=self._rate_key(),
                row=trained.of,
                folder=trained.folder,
                total=config.steps,
                unit="steps",
                each=config.batch_size,
            )
        ]

    def load(self) -> DoJobs:
        context, trained = self.context, self.trained
        make = class_model if isinstance(trained.config, ClassModelConfig) else finetuned

        def train(names: Sequence[str]) -> None:
            del names
            size = 0 if trained.folder.exists() else trained.config.steps * trained.config.batch_size
            with measured(context.out, self.name, self._rate_key(), size):  # the rest of a training gives no rate
                make(context.recipe, context.data, context.out, context.log)

        return train

    def trial(self, job: Job, folder: Path) -> None:
        """Train on one image of each class: encoding all takes longer."""
        del job
        data = self.context.data
        _, firsts = np.unique(data.train.labels, return_index=True)
        context = self.context.elsewhere(folder, replace(data, train=Subset(data.train, firsts)))
        own = DatasetConfig(from_scratch=True) if self.name == "class model" else DatasetConfig(finetuned=True)
        trained = trained_generator(context, self.base, own)
        assert trained is not None
        TrainGenerator(context, self.base, trained).load()([self.name])

    def disk(self, jobs: Sequence[Job]) -> float:
        """A fine-tune of all weights keeps copies of them; the additions of a LoRA take a few MB."""
        from genrobust.generate import weights_bytes

        config = self.trained.config
        full = isinstance(config, FinetuneConfig) and config.method == "full"
        return FINETUNED_COPIES * weights_bytes(self.base) if jobs and full else 0

    def _rate_key(self) -> str:
        config = self.trained.config
        how = class_model_size(config) if isinstance(config, ClassModelConfig) else getattr(config, "method", "")
        return f"{self.base.model}, {how}, {config.precision}, {self.context.worker}"


def class_model_size(config: ClassModelConfig) -> str:
    """Return the size of a class model in words, for the keys of rates."""
    return f"DiT of {config.depth} x {config.width}, patches of {config.patch_size}"
