"""The stage that mixes the weights of pretrained networks with those that fine-tuning made of them (WiSE-FT)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrobust.core import ImageSet, progress_bar, resolve_device
from genrobust.recipe import TrainConfig
from genrobust.study.jobs import DoJobs, Job, Work
from genrobust.study.rates import measured
from genrobust.study.sources import Sources
from genrobust.study.stage import Stage
from genrobust.study.stages.train import is_trained, network_of, weights_bytes
from genrobust.study.training_runs import TrainingRun

if TYPE_CHECKING:
    import torch

TRIALS = 3  # classifiers, of which the first is a warm-up


class Interpolate(Stage):
    """Makes the classifiers of `runs`, each between a pretrained network and one that is fine-tuned already."""

    name = "interpolate"
    title = "mixing weights"
    items = "classifiers"

    def __init__(self, sources: Sources, runs: Sequence[TrainingRun], needs: Sequence[Stage] = ()) -> None:
        super().__init__(sources.context, needs)
        self.sources, self.runs = sources, tuple(runs)

    def __reduce__(self) -> tuple[object, ...]:
        return Interpolate, (self.sources, self.runs)

    def jobs(self) -> list[Job]:
        jobs: dict[Path, Job] = {}
        for run in self.runs:
            folder = self.sources.checkpoint(run)
            left, rate_key = int(not is_trained(folder)), network_of(self.sources.settings(run))
            how: dict[str, Any] = {"row": "weights between two", "folder": folder, "total": 1, "unit": self.items}
            jobs.setdefault(folder, Job(run, f"the weights of {run.name}", left, rate_key, **how))
        return list(jobs.values())

    def load(self) -> DoJobs:
        from genrobust.classifiers import interpolate_checkpoint

        def mix(runs: Sequence[TrainingRun]) -> None:
            for run in runs:
                train = self.sources.settings(run)
                tuned, out = self.sources.checkpoint(run.tuned), self.sources.checkpoint(run)
                with measured(self.context.out, self.name, network_of(train), 1):
                    inputs = self.sources.checkpoint_inputs(run)
                    interpolate_checkpoint(tuned, run.alpha, out, *self._validation(train), inputs)

        return mix

    def _validation(self, train: TrainConfig) -> tuple[ImageSet, int, torch.device]:
        """The validation images, how many are answered at once, and where."""
        return self.context.data.val, 2 * train.batch_size, resolve_device(self.context.recipe.device)

    def do(self, todo: Sequence[Job]) -> None:
        work = Work(self.title, todo, self.load, unit=self.items)
        self.context.times.run(self.context.executor, self.name, self.items, work)

    def trial(self, job: Job, folder: Path) -> None:
        """Mix the weights of an untrained network with themselves."""
        from genrobust.classifiers import CheckpointInfo, create_classifier, interpolate_checkpoint, save_checkpoint

        train, classes = self.sources.settings(job.key), self.context.data.labels.ids
        network = create_classifier(train.architecture, len(classes), train.image_size, train.network_kwargs)
        info = CheckpointInfo(train.architecture, dict(train.network_kwargs), classes, train.image_size, {})
        save_checkpoint(folder / "untrained", network, info, network.state_dict())
        with progress_bar(self.title, TRIALS) as bar:
            for number in range(TRIALS):
                interpolate_checkpoint(folder / "untrained", 0.5, folder / str(number), *self._validation(train))
                bar.advance(1)

    def disk(self, jobs: Sequence[Job]) -> float:
        classes = len(self.context.data.labels)
        return sum(weights_bytes(self.sources.settings(job.key), classes) for job in jobs)
