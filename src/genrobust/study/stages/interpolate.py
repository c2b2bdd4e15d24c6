"""The stage that mixes the weights of pretrained networks with those that fine-tuning made of them (WiSE-FT)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genrobust.core import resolve_device
from genrobust.study.estimates import Cost, network_size
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources import Sources
from genrobust.study.stages.stage import Stage
from genrobust.study.stages.train import is_trained
from genrobust.study.training_runs import TrainingRun


class Interpolate(Stage):
    """Makes the classifiers of `runs`, each between a pretrained network and one that is fine-tuned already."""

    name = "interpolate"
    title = "mixing weights"
    items = unit = "classifiers"

    def __init__(self, sources: Sources, runs: Sequence[TrainingRun], needs: Sequence[Stage] = ()) -> None:
        super().__init__(sources.context, needs)
        self.sources, self.runs = sources, tuple(runs)

    def jobs(self) -> list[Job]:
        jobs: dict[Path, Job] = {}
        for run in self.runs:
            folder = self.sources.checkpoint(run)
            left = int(not is_trained(folder))
            name, row = f"the weights of {run.name}", "weights between two"
            jobs.setdefault(folder, Job(run, name, left, row=row, folder=folder, total=1, unit=self.items))
        return list(jobs.values())

    def load(self) -> DoJobs:
        from genrobust.classifiers import interpolate_checkpoint

        def mix(runs: Sequence[TrainingRun]) -> None:
            for run in runs:
                interpolate_checkpoint(
                    self.sources.checkpoint(run.tuned),
                    run.alpha,
                    self.sources.checkpoint(run),
                    self.context.data.val,
                    2 * self.sources.settings(run).batch_size,
                    resolve_device(self.context.recipe.device),
                    self.sources.checkpoint_inputs(run),
                )

        return mix

    def cost(self, job: Job) -> Cost:
        """Return the cost of a classifier: it answers the validation images, and its weights are written."""
        context, train = self.context, self.sources.settings(job.key)
        size = network_size(context.out, train, len(context.data.labels))
        return Cost(size.multiply_adds * len(context.data.val) + size.parameters / 1e9, disk=4 * size.parameters)
